"""What the configurations of topics, groups and client metrics subscriptions mean, in our words."""

TOPIC = """
segment.bytes: Size in bytes at which a segment is closed and the next one started. Retention and compaction work on
    closed segments only.
segment.ms: Age in ms of a segment's first record at which the segment is closed, even if it is not full.
segment.jitter.ms: At most this many ms are taken off segment.ms, at random, so that segments do not all roll at once.
segment.index.bytes: Size in bytes of the file that maps offsets to positions; a full index closes its segment.
flush.messages: Number of records after which the log is forced to disk. Replication makes this rarely necessary.
flush.ms: Time in ms after which records are forced to disk.
retention.bytes: Size in bytes to which a partition is cut by deleting its oldest segments; -1 sets no limit.
retention.ms: Age in ms at which segments are deleted; -1 keeps them for ever.
max.message.bytes: Largest record batch in bytes that is accepted, after compression by the producer.
max.decompressed.message.bytes: Largest size in bytes of a record batch after decompression.
index.interval.bytes: Bytes of records between two entries of the offset index; fewer make reads jump closer.
delete.retention.ms: Time in ms that a tombstone is kept in a compacted topic, for consumers that read from the start.
min.compaction.lag.ms: Time in ms for which a record is safe from compaction.
max.compaction.lag.ms: Time in ms after which a record has to be compacted at the latest.
file.delete.delay.ms: Time in ms between taking a file out of use and deleting it from disk.
min.cleanable.dirty.ratio: Share of the log that must be uncompacted before compaction is worth it.
cleanup.policy: What happens to old segments: delete them, compact them by key, or both. Empty keeps everything.
unclean.leader.election.enable: Whether a replica that may lack records can become leader when no other is left.
min.insync.replicas: Number of in-sync replicas that a write with acks=all needs.
compression.type: Codec in which the log is kept; producer keeps what the producer chose.
compression.gzip.level: Compression level when the broker compresses with gzip; -1 is the codec's default.
compression.lz4.level: Compression level when the broker compresses with lz4.
compression.zstd.level: Compression level when the broker compresses with zstd.
preallocate: Whether a new segment gets its full size on disk at once.
message.timestamp.type: Whether records keep the producer's time (CreateTime) or get the broker's (LogAppendTime).
message.timestamp.before.max.ms: How far in ms a producer's timestamp may lie in the past; ignored with LogAppendTime.
message.timestamp.after.max.ms: How far in ms a producer's timestamp may lie in the future; ignored with LogAppendTime.
leader.replication.throttled.replicas: Replicas whose leaders throttle replication, as partition:broker pairs, or * for
    all.
follower.replication.throttled.replicas: Replicas whose followers throttle replication, as partition:broker pairs, or *
    for all.
remote.storage.enable: Whether old segments move to tiered storage, which this broker does not have.
local.retention.ms: Age in ms at which segments leave the local disk under tiered storage; -2 follows retention.ms.
local.retention.bytes: Size in bytes kept on the local disk under tiered storage; -2 follows retention.bytes.
remote.log.copy.disable: Whether a tiered topic stops moving segments and only reads those that have moved.
remote.copy.lag.ms: Age in ms that a segment has before it moves to tiered storage.
remote.copy.lag.bytes: Bytes of newer records that a segment has behind it before it moves to tiered storage.
remote.log.delete.on.disable: Whether turning tiered storage off also deletes what has moved.
errors.deadletterqueue.group.enable: Whether share groups may use this topic for records that nobody could process.
internal.segment.bytes: Size in bytes of a segment, below the least that segment.bytes allows; for tests.
"""

GROUP = """
consumer.session.timeout.ms: Time in ms without a heartbeat after which a member of a consumer group is removed.
consumer.heartbeat.interval.ms: Time in ms between two heartbeats of a member of a consumer group.
consumer.assignment.interval.ms: Least time in ms between two assignments of a consumer group.
consumer.assignor.offload.enable: Whether assignments of consumer groups are computed in the background.
share.session.timeout.ms: Time in ms without a heartbeat after which a member of a share group is removed.
share.heartbeat.interval.ms: Time in ms between two heartbeats of a member of a share group.
share.record.lock.duration.ms: Time in ms for which a record is locked for the consumer that fetched it.
share.delivery.count.limit: How often a record is delivered before a share group gives it up.
share.partition.max.record.locks: Most records of a partition that a share group may have locked at once.
share.auto.offset.reset: Where a share group starts that has no position: earliest, latest, or a time ago
    (by_duration:PnDTnHnMn.nS).
share.isolation.level: Whether a share group reads only committed records of transactions.
share.renew.acknowledge.enable: Whether consumers of a share group may extend the lock of a record.
share.assignment.interval.ms: Least time in ms between two assignments of a share group.
share.assignor.offload.enable: Whether assignments of share groups are computed in the background.
streams.session.timeout.ms: Time in ms without a heartbeat after which a member of a streams group is removed.
streams.heartbeat.interval.ms: Time in ms between two heartbeats of a member of a streams group.
streams.num.standby.replicas: How many standby copies of its state each task of a streams group has.
streams.initial.rebalance.delay.ms: Time in ms that a new streams group waits for further members.
streams.assignment.interval.ms: Least time in ms between two assignments of a streams group.
streams.assignor.offload.enable: Whether assignments of streams groups are computed in the background.
streams.task.offset.interval.ms: Time in ms between two reports of the offsets that tasks have reached.
streams.num.warmup.replicas: How many tasks may be copied at once to members that are to take them over.
streams.rack.aware.assignment.tags: Client tags by which standby copies are kept apart.
streams.acceptable.recovery.lag: Lag in records up to which a standby copy counts as caught up.
streams.assignor.name: Assignor of a streams group.
errors.deadletterqueue.topic.name: Topic that gets the records which a share group gave up; empty drops them.
errors.deadletterqueue.copy.record.enable: Whether the given up record itself is copied, and not only where it was.
"""

CLIENT_METRICS = """
metrics: Prefixes of the names of metrics that clients push; * stands for all, an empty list for none.
interval.ms: Time in ms between two pushes of a client, from 100 to 3600000.
match: Which clients push, as fact=regular expression; all entries have to match.
"""
