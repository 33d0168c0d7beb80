"""What the configurations that pykbroker acts on mean, in our words."""

BROKER = """
process.roles: Roles of the process: broker, controller, or both. The store does the controllers' work here.
node.id: Number of this broker, unique in its cluster.
broker.id: Older name of node.id.
broker.rack: Rack of the broker; replicas of a partition are spread over racks.
broker.heartbeat.interval.ms: Time in ms between two renewals of the broker's lease.
broker.session.timeout.ms: Time in ms without renewal after which the broker is fenced.
controlled.shutdown.enable: Whether a stopping broker hands over what it leads before it goes.
listeners: Addresses to listen on, as NAME://host:port; an empty host is all addresses, port 0 any free one.
advertised.listeners: Addresses that clients are told to connect to, where they differ from listeners.
listener.security.protocol.map: Security protocol of each listener's name.
controller.listener.names: Names of listeners for controllers; they are not opened here.
inter.broker.listener.name: Listener over which brokers talk to one another.
security.inter.broker.protocol: Security protocol between brokers, unless inter.broker.listener.name says it.
socket.send.buffer.bytes: Send buffer of a socket in bytes; -1 leaves it to the system.
socket.receive.buffer.bytes: Receive buffer of a socket in bytes; -1 leaves it to the system.
socket.request.max.bytes: Largest request in bytes; a larger one closes the connection.
socket.listen.backlog.size: Connections that may wait to be accepted.
socket.connection.setup.timeout.ms: Time in ms to wait for a connection to another broker, at first.
socket.connection.setup.timeout.max.ms: Time in ms to wait for a connection to another broker, after many failures.
max.connections: Most connections at once; further ones wait or are closed.
max.connections.per.ip: Most connections at once from one address.
max.connections.per.ip.overrides: Other limits for some addresses, as host:count pairs.
max.connection.creation.rate: Most new connections a second.
connections.max.idle.ms: Time in ms after which a connection without requests is closed.
queued.max.request.bytes: Bytes of requests that may wait before no more are read; -1 sets no limit.
request.timeout.ms: Time in ms that the broker waits for an answer to a request of its own.
auto.create.topics.enable: Whether asking for a topic that does not exist creates it.
delete.topic.enable: Whether topics can be deleted.
num.partitions: Number of partitions of a topic that is created without saying how many.
default.replication.factor: Number of replicas of a topic that is created without saying how many.
min.insync.replicas: Number of in-sync replicas that a write with acks=all needs.
max.request.partition.size.limit: Most partitions in one answer of DescribeTopicPartitions.
unclean.leader.election.enable: Whether a replica that may lack records can become leader when no other is left.
auto.leader.rebalance.enable: Whether leaders move back to their preferred brokers by themselves.
leader.imbalance.check.interval.seconds: Time in seconds between two checks for leaders that are not preferred ones.
message.max.bytes: Largest record batch in bytes that is accepted, unless the topic says otherwise.
max.decompressed.message.bytes: Largest size in bytes of a record batch after decompression.
compression.type: Codec in which logs are kept; producer keeps what the producer chose.
compression.gzip.level: Compression level when the broker compresses with gzip; -1 is the codec's default.
compression.lz4.level: Compression level when the broker compresses with lz4.
compression.zstd.level: Compression level when the broker compresses with zstd.
fetch.max.bytes: Most bytes in the answer to a fetch; a first batch that is larger is returned all the same.
max.incremental.fetch.session.cache.slots: Number of fetch sessions that are kept.
log.dir: Folder of the logs, if log.dirs is not set.
log.dirs: Folders of the logs, separated by commas.
cordoned.log.dirs: Folders that get no new partitions.
log.segment.bytes: Size in bytes at which a segment is closed and the next one started.
log.roll.ms: Age in ms at which a segment is closed even if it is not full; if not set, log.roll.hours.
log.roll.hours: Age in hours at which a segment is closed even if it is not full.
log.roll.jitter.ms: At most this many ms are taken off the age, at random; if not set, log.roll.jitter.hours.
log.roll.jitter.hours: At most this many hours are taken off the age, at random.
log.retention.ms: Age in ms at which segments are deleted; if not set, log.retention.minutes; -1 keeps them.
log.retention.minutes: Age in minutes at which segments are deleted; if not set, log.retention.hours.
log.retention.hours: Age in hours at which segments are deleted.
log.retention.bytes: Size in bytes to which a partition is cut by deleting its oldest segments; -1 sets no limit.
log.retention.check.interval.ms: Time in ms between two looks for segments to delete.
log.cleanup.policy: What happens to old segments: delete them, compact them by key, or both.
log.index.size.max.bytes: Largest offset index in bytes.
log.index.interval.bytes: Bytes of records between two entries of the offset index.
log.flush.interval.messages: Number of records after which a log is forced to disk.
log.flush.interval.ms: Time in ms after which records are forced to disk; if not set,
    log.flush.scheduler.interval.ms.
log.flush.scheduler.interval.ms: Time in ms between two looks for logs to force to disk.
log.flush.offset.checkpoint.interval.ms: Time in ms between two notes of how far recovery can trust the logs.
log.flush.start.offset.checkpoint.interval.ms: Time in ms between two notes of the logs' start offsets.
log.segment.delete.delay.ms: Time in ms between taking a file out of use and deleting it from disk.
log.preallocate: Whether a new segment gets its full size on disk at once.
log.message.timestamp.type: Whether records keep the producer's time (CreateTime) or get the broker's (LogAppendTime).
log.message.timestamp.before.max.ms: How far in ms a producer's timestamp may lie in the past.
log.message.timestamp.after.max.ms: How far in ms a producer's timestamp may lie in the future.
log.local.retention.ms: Age in ms at which segments leave the local disk under tiered storage; -2 follows retention.
log.local.retention.bytes: Size in bytes kept on the local disk under tiered storage; -2 follows retention.
log.remote.copy.lag.ms: Age in ms that a segment has before it moves to tiered storage.
log.remote.copy.lag.bytes: Bytes of newer records that a segment has behind it before it moves to tiered storage.
log.cleaner.enable: Whether compacted topics are compacted.
log.cleaner.threads: Number of threads that compact.
log.cleaner.io.max.bytes.per.second: Most bytes a second that compaction reads and writes.
log.cleaner.dedupe.buffer.size: Memory in bytes for the keys of a compaction.
log.cleaner.io.buffer.size: Memory in bytes for what a compaction reads and writes.
log.cleaner.io.buffer.load.factor: How full the memory for keys may get.
log.cleaner.backoff.ms: Time in ms to rest when there is nothing to compact.
log.cleaner.min.cleanable.ratio: Share of a log that must be uncompacted before compaction is worth it.
log.cleaner.delete.retention.ms: Time in ms that a tombstone is kept in a compacted topic.
log.cleaner.min.compaction.lag.ms: Time in ms for which a record is safe from compaction.
log.cleaner.max.compaction.lag.ms: Time in ms after which a record has to be compacted at the latest.
replica.lag.time.max.ms: Time in ms behind the leader after which a follower leaves the in-sync replicas.
replica.socket.timeout.ms: Time in ms that a follower waits for the answer to a fetch.
replica.socket.receive.buffer.bytes: Receive buffer in bytes of a follower's socket.
replica.fetch.max.bytes: Bytes that a follower asks for of each partition.
replica.fetch.wait.max.ms: Time in ms that the leader may hold a follower's fetch until there are records.
replica.fetch.backoff.ms: Time in ms that a follower rests after an error.
replica.fetch.min.bytes: Bytes that a follower's fetch waits for.
replica.fetch.response.max.bytes: Bytes that a follower asks for in all.
num.replica.fetchers: Number of fetchers for each leader to follow.
replica.high.watermark.checkpoint.interval.ms: Time in ms between two notes of the high watermarks on disk.
group.min.session.timeout.ms: Shortest session timeout in ms that a member of a classic group may ask for.
group.max.session.timeout.ms: Longest session timeout in ms that a member of a classic group may ask for.
group.initial.rebalance.delay.ms: Time in ms that a new classic group waits for further members.
group.max.size: Most members of a classic group.
offset.metadata.max.bytes: Largest metadata in bytes that may go with a committed offset.
offsets.commit.timeout.ms: Time in ms within which a commit has to be replicated.
offsets.load.buffer.size: Bytes read at once when committed offsets are loaded.
offsets.topic.replication.factor: Replicas of the topic of committed offsets; unless set, no more than there are
    brokers.
offsets.topic.num.partitions: Partitions of the topic of committed offsets; not to be changed later.
offsets.topic.segment.bytes: Size in bytes of a segment of the topic of committed offsets.
offsets.topic.compression.codec: Number of the codec for committed offsets.
offsets.retention.minutes: Time in minutes that the offsets of an empty group, or of a topic that it no longer reads,
    are kept.
offsets.retention.check.interval.ms: Time in ms between two looks for offsets to remove.
producer.id.expiration.ms: Time in ms without a record after which a producer id is forgotten by a partition.
transaction.state.log.min.isr: In-sync replicas that the topic of transactions needs.
transaction.state.log.load.buffer.size: Bytes read at once when transactions are loaded.
transaction.state.log.replication.factor: Replicas of the topic of transactions; unless set, no more than there are
    brokers.
transaction.state.log.num.partitions: Partitions of the topic of transactions; not to be changed later.
transaction.state.log.segment.bytes: Size in bytes of a segment of the topic of transactions.
transaction.partition.verification.enable: Whether a partition asks the coordinator if a transaction that writes to it
    is open.
transactional.id.expiration.ms: Time in ms without a transaction after which a transactional id is forgotten.
transaction.max.timeout.ms: Longest timeout in ms that a transaction may ask for.
transaction.abort.timed.out.transaction.cleanup.interval.ms: Time in ms between two looks for transactions to abort.
transaction.remove.expired.transaction.cleanup.interval.ms: Time in ms between two looks for transactional ids to
    forget.
share.coordinator.state.topic.num.partitions: Partitions of the topic of share groups' state; not to be changed later.
share.coordinator.state.topic.replication.factor: Replicas of the topic of share groups' state; unless set, no more
    than there are brokers.
share.coordinator.state.topic.min.isr: In-sync replicas that the topic of share groups' state needs.
share.coordinator.state.topic.segment.bytes: Size in bytes of a segment of the topic of share groups' state.
add.partitions.to.txn.retry.backoff.max.ms: Longest time in ms between two attempts to verify a transaction.
add.partitions.to.txn.retry.backoff.ms: Time in ms between two attempts to verify a transaction, at first.
pykbroker.store: Where the cluster's metadata is: sqlite (a file in the data folder), sqlite:PATH (a file that the
    brokers of one machine share) or etcd://host:port,host:port/prefix.
pykbroker.cluster.id: Id of a cluster that is founded now, instead of a random one.
pykbroker.store.timeout.ms: Time in ms that the broker waits for an etcd to go on before it asks the next one.
pykbroker.strict.records: Whether every batch of a client is checked record by record, also where Kafka looks at its
    header only.
pykbroker.transaction.marker.retry.ms: Time in ms until the marker of a transaction is tried again where it was refused.
pykbroker.max.waiting.transaction.checks: Most requests of one transactional id that wait for its coordinator.
pykbroker.max.queued.broker.requests: Most requests to one other broker that wait for their turn.
pykbroker.max.walked.batch.bytes: Most decompressed bytes of a batch whose records the topic needs checked, four
    times those of one that is compressed anew; a batch with more is MESSAGE_TOO_LARGE. A record counts as 256 bytes at
    least, and so does each header in it.
telemetry.max.bytes: Most bytes of metrics that a client may push at once, before and after compression.
pykbroker.http.listener: host:port of metrics and health by HTTP; empty is off, port 0 takes any.
pykbroker.http.faults.enable: Whether whoever reaches the HTTP address may order faults.
pykbroker.http.timeout.ms: Time in ms in which an HTTP client has to send its request, and to take the answer.
pykbroker.http.max.connections: Most HTTP connections at a time.
pykbroker.http.leader.timeout.ms: Time in ms that a scrape waits for the end offsets of other leaders.
pykbroker.http.end.offsets.max.age.ms: Time in ms for which such end offsets are not asked for again.
pykbroker.http.console.enable: Whether the web console is served by HTTP.
pykbroker.http.console.write.enable: Whether the console may produce records; else it only shows.
pykbroker.http.console.remote.enable: Whether the console is also served on an address that is not loopback.
pykbroker.http.console.hosts: Names by which others may call the console, besides addresses, localhost and those of
    advertised.listeners.
pykbroker.http.console.max.traces: Most browsers that may watch the protocol at a time.
pykbroker.telemetry.enable: Whether clients are told that they may push metrics, and what they push is kept for a while.
pykbroker.telemetry.max.clients: Most clients of which is known what they were asked for.
pykbroker.telemetry.max.kept.bytes: Most bytes of pushed metrics that are kept in memory; the oldest go first.
"""
