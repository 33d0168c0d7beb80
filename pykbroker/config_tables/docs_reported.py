"""What the configurations mean that pykbroker understands and shows but does not act on, in our words."""

REPORTED = """
remote.log.storage.system.enable: Whether old segments move to tiered storage.
remote.log.storage.manager.impl.prefix: Prefix of the properties that are passed to the tiered storage plug-in.
remote.log.metadata.manager.impl.prefix: Prefix of the properties that are passed to the plug-in for its metadata.
remote.log.storage.manager.class.name: Class of the tiered storage plug-in.
remote.log.storage.manager.class.path: Where the class of the tiered storage plug-in is found.
remote.log.metadata.manager.class.name: Class of the plug-in for the metadata of tiered storage.
remote.log.metadata.manager.class.path: Where the class of that plug-in is found.
remote.log.metadata.manager.listener.name: Listener over which that plug-in reaches the brokers.
remote.log.metadata.custom.metadata.max.bytes: Most bytes that a tiered storage plug-in may note of a segment.
remote.log.index.file.cache.total.size.bytes: Bytes on disk for indexes of segments in tiered storage.
remote.log.manager.thread.pool.size: Threads for tiered storage as a whole.
remote.log.manager.copier.thread.pool.size: Threads that move segments to tiered storage.
remote.log.manager.expiration.thread.pool.size: Threads that delete old segments from tiered storage.
remote.log.manager.follower.thread.pool.size: Threads that prepare followers to take over tiered storage.
remote.log.manager.task.interval.ms: Time in ms between two looks for work of tiered storage.
remote.log.reader.threads: Threads that read from tiered storage.
remote.log.reader.max.pending.tasks: Reads from tiered storage that may wait.
remote.log.manager.copy.max.bytes.per.second: Most bytes a second moved to tiered storage.
remote.log.manager.copy.quota.window.num: Number of samples in which that rate is measured.
remote.log.manager.copy.quota.window.size.seconds: Length of such a sample in seconds.
remote.log.manager.fetch.max.bytes.per.second: Most bytes a second read from tiered storage.
remote.log.manager.fetch.quota.window.num: Number of samples in which that rate is measured.
remote.log.manager.fetch.quota.window.size.seconds: Length of such a sample in seconds.
remote.fetch.max.wait.ms: Time in ms that a fetch waits for tiered storage.
remote.list.offsets.request.timeout.ms: Time in ms that a look for an offset waits for tiered storage.
num.io.threads: Threads that work on requests; this broker needs one event loop.
num.network.threads: Threads that read and write sockets; this broker needs one event loop.
num.replica.alter.log.dirs.threads: Threads that move replicas between log folders.
config.providers: Names of plug-ins that look up values of configurations.
authorizer.class.name: Class that decides who may do what.
early.start.listeners: Listeners that open before the broker is ready.
initial.broker.registration.timeout.ms: Time in ms that a starting broker waits for its registration.
sasl.mechanism.controller.protocol: SASL mechanism towards controllers.
metadata.log.max.record.bytes.between.snapshots: Bytes of the controllers' log after which a snapshot is taken.
metadata.log.max.snapshot.interval.ms: Time in ms after which a snapshot of the controllers' log is taken.
metadata.log.dir: Folder of the controllers' log.
metadata.log.segment.bytes: Size in bytes of a segment of the controllers' log.
metadata.log.segment.ms: Age in ms at which a segment of the controllers' log is closed.
metadata.max.retention.bytes: Bytes of the controllers' log and snapshots that are kept.
metadata.max.retention.ms: Time in ms that old parts of the controllers' log are kept.
metadata.max.idle.interval.ms: Time in ms after which an idle controller writes an empty record; 0 never.
controller.socket.timeout.ms: Time in ms to wait for a controller's answer.
fetch.purgatory.purge.interval.requests: Finished fetches after which the list of waiting ones is cleared up.
producer.purgatory.purge.interval.requests: Finished produces after which the list of waiting ones is cleared up.
delete.records.purgatory.purge.interval.requests: Finished deletions after which the list of waiting ones is cleared
    up.
replica.selector.class: Class that chooses which replica a consumer reads from.
follower.fetch.last.tiered.offset.enable: Whether a new follower starts behind what is in tiered storage.
group.coordinator.threads: Threads of the group coordinator.
group.coordinator.background.threads: Threads for long computations of the group coordinator.
group.coordinator.append.linger.ms: Time in ms that the group coordinator collects records before it writes; -1 adapts.
group.coordinator.cached.buffer.max.bytes: Largest write buffer in bytes that the group coordinator keeps for reuse.
group.consumer.session.timeout.ms: Time in ms without a heartbeat after which a member of a consumer group is removed.
group.consumer.min.session.timeout.ms: Least session timeout in ms that a consumer group may set.
group.consumer.max.session.timeout.ms: Largest session timeout in ms that a consumer group may set.
group.consumer.heartbeat.interval.ms: Time in ms between two heartbeats of a member of a consumer group.
group.consumer.min.heartbeat.interval.ms: Least heartbeat interval in ms that a consumer group may set.
group.consumer.max.heartbeat.interval.ms: Largest heartbeat interval in ms that a consumer group may set.
group.consumer.max.size: Most members of a consumer group.
group.consumer.assignors: Assignors of consumer groups; the first is the default.
group.consumer.migration.policy: Whether groups may change between the classic and the consumer protocol.
group.consumer.assignment.interval.ms: Least time in ms between two assignments of a consumer group.
group.consumer.min.assignment.interval.ms: Least assignment interval in ms that a consumer group may set.
group.consumer.max.assignment.interval.ms: Largest assignment interval in ms that a consumer group may set.
group.share.session.timeout.ms: Time in ms without a heartbeat after which a member of a share group is removed.
group.share.min.session.timeout.ms: Least session timeout in ms that a share group may set.
group.share.max.session.timeout.ms: Largest session timeout in ms that a share group may set.
group.share.heartbeat.interval.ms: Time in ms between two heartbeats of a member of a share group.
group.share.min.heartbeat.interval.ms: Least heartbeat interval in ms that a share group may set.
group.share.max.heartbeat.interval.ms: Largest heartbeat interval in ms that a share group may set.
group.share.max.size: Most members of a share group.
group.share.assignors: Assignors of share groups; the first is used.
group.share.assignment.interval.ms: Least time in ms between two assignments of a share group.
group.share.min.assignment.interval.ms: Least assignment interval in ms that a share group may set.
group.share.max.assignment.interval.ms: Largest assignment interval in ms that a share group may set.
group.share.delivery.count.limit: How often a record is delivered before a share group gives it up.
group.share.min.delivery.count.limit: Least number of deliveries that a share group may set.
group.share.max.delivery.count.limit: Largest number of deliveries that a share group may set.
group.share.record.lock.duration.ms: Time in ms for which a record is locked for the consumer that fetched it.
group.share.min.record.lock.duration.ms: Least lock in ms that a share group may set.
group.share.max.record.lock.duration.ms: Largest lock in ms that a share group may set.
group.share.partition.max.record.locks: Most records of a partition that a share group may have locked at once.
group.share.min.partition.max.record.locks: Least number of locked records that a share group may set.
group.share.max.partition.max.record.locks: Largest number of locked records that a share group may set.
group.share.max.share.sessions: Most share sessions of a broker.
share.fetch.purgatory.purge.interval.requests: Finished share fetches after which the list of waiting ones is cleared
    up.
share.coordinator.threads: Threads of the share coordinator.
share.coordinator.snapshot.update.records.per.snapshot: Updates of a share partition's state between two snapshots.
share.coordinator.load.buffer.size: Bytes read at once when the state of share groups is loaded.
share.coordinator.state.topic.compression.codec: Number of the codec for the state of share groups.
share.coordinator.append.linger.ms: Time in ms that the share coordinator collects records before it writes; -1
    adapts.
share.coordinator.write.timeout.ms: Time in ms within which the state of share groups has to be replicated.
share.coordinator.cached.buffer.max.bytes: Largest write buffer in bytes that the share coordinator keeps for reuse.
errors.deadletterqueue.auto.create.topics.enable: Whether topics for given up records are created when needed.
errors.deadletterqueue.topic.name.prefix: What the names of topics for given up records begin with.
group.streams.session.timeout.ms: Time in ms without a heartbeat after which a member of a streams group is removed.
group.streams.min.session.timeout.ms: Least session timeout in ms that a streams group may set.
group.streams.max.session.timeout.ms: Largest session timeout in ms that a streams group may set.
group.streams.heartbeat.interval.ms: Time in ms between two heartbeats of a member of a streams group.
group.streams.min.heartbeat.interval.ms: Least heartbeat interval in ms that a streams group may set.
group.streams.max.heartbeat.interval.ms: Largest heartbeat interval in ms that a streams group may set.
group.streams.max.size: Most members of a streams group.
group.streams.num.standby.replicas: How many standby copies of its state each task has.
group.streams.max.standby.replicas: Largest number of standby copies that a streams group may set.
group.streams.initial.rebalance.delay.ms: Time in ms that a new streams group waits for further members.
group.streams.assignment.interval.ms: Least time in ms between two assignments of a streams group.
group.streams.min.assignment.interval.ms: Least assignment interval in ms that a streams group may set.
group.streams.max.assignment.interval.ms: Largest assignment interval in ms that a streams group may set.
group.streams.assignors: Assignors of streams groups; the first is the default.
group.streams.rack.aware.assignment.tags: Client tags by which standby copies are kept apart.
group.streams.topology.description.plugin.class: Class that keeps the descriptions of streams topologies.
create.topic.policy.class.name: Class that may refuse the creation of topics.
alter.config.policy.class.name: Class that may refuse changes of configurations.
transaction.two.phase.commit.enable: Whether clients may prepare transactions and decide on them later.
controller.quorum.voters: Controllers that vote, as id@host:port entries.
controller.quorum.bootstrap.servers: Addresses at which the controllers are found.
controller.quorum.election.timeout.ms: Time in ms without a leader after which a controller starts an election.
controller.quorum.fetch.timeout.ms: Time in ms without an answer after which a controller stands for election.
controller.quorum.election.backoff.max.ms: Longest time in ms between two elections.
controller.quorum.append.linger.ms: Time in ms that the leading controller collects records before it writes.
controller.quorum.request.timeout.ms: Time in ms that controllers wait for one another's answers.
controller.quorum.retry.backoff.ms: Time in ms between two attempts among controllers.
controller.quorum.auto.join.enable: Whether a new controller joins the voters by itself.
controller.quorum.fetch.snapshot.max.bytes: Bytes of a snapshot fetched at once among controllers.
controller.quorum.fetch.max.bytes: Bytes of the controllers' log fetched at once.
metrics.num.samples: Number of samples in which metrics are measured.
metrics.sample.window.ms: Length in ms of such a sample.
metric.reporters: Classes that publish metrics.
metrics.recording.level: How detailed metrics are.
kafka.metrics.reporters: Classes that publish metrics of the older kind.
kafka.metrics.polling.interval.secs: Time in seconds between two publications of the older kind.
telemetry.max.bytes: Most bytes of metrics that a client may push at once, after compression.
quota.window.num: Number of samples in which client quotas are measured.
quota.window.size.seconds: Length in seconds of such a sample.
replication.quota.window.num: Number of samples in which replication quotas are measured.
replication.quota.window.size.seconds: Length in seconds of such a sample.
alter.log.dirs.replication.quota.window.num: Number of samples in which moves between log folders are measured.
alter.log.dirs.replication.quota.window.size.seconds: Length in seconds of such a sample.
controller.quota.window.num: Number of samples in which quotas of topic changes are measured.
controller.quota.window.size.seconds: Length in seconds of such a sample.
client.quota.callback.class: Class that decides on client quotas.
sasl.server.max.receive.size: Most bytes of one message of a SASL exchange.
security.providers: Java classes that provide security algorithms.
principal.builder.class: Java class that makes a principal of an authenticated connection.
ssl.client.auth: Whether clients must, may or need not show a certificate.
ssl.principal.mapping.rules: Rules that turn the name in a certificate into a principal.
ssl.allow.dn.changes: Whether a new certificate may have another distinguished name.
ssl.allow.san.changes: Whether a new certificate may have other alternative names.
ssl.protocol: TLS version to begin with.
ssl.provider: Java's provider of TLS.
ssl.enabled.protocols: TLS versions that are accepted.
ssl.keystore.type: Format of the key store.
ssl.keystore.location: File of the key store.
ssl.key.password: Password of the private key.
ssl.keystore.key: Private key in PEM format.
ssl.keystore.certificate.chain: Certificates in PEM format that belong to the private key.
ssl.truststore.type: Format of the trust store.
ssl.truststore.location: File of the trust store.
ssl.truststore.password: Password of the trust store.
ssl.truststore.certificates: Trusted certificates in PEM format.
ssl.keymanager.algorithm: Java's algorithm for keys.
ssl.trustmanager.algorithm: Java's algorithm for trust.
ssl.endpoint.identification.algorithm: How a server's name is compared with its certificate; empty does not compare.
ssl.secure.random.implementation: Java's source of random numbers for TLS.
ssl.cipher.suites: Cipher suites that are accepted; empty accepts all.
ssl.engine.factory.class: Java class that makes TLS engines.
sasl.mechanism.inter.broker.protocol: SASL mechanism between brokers.
sasl.enabled.mechanisms: SASL mechanisms that clients may use.
sasl.server.callback.handler.class: Java class that answers the server's side of a SASL exchange.
sasl.kerberos.principal.to.local.rules: Rules that turn a Kerberos principal into a short name.
sasl.client.callback.handler.class: Java class that answers the client's side of a SASL exchange.
sasl.login.class: Java class that logs in.
sasl.login.callback.handler.class: Java class that answers questions of a login.
sasl.kerberos.service.name: Kerberos name of the service.
sasl.kerberos.kinit.cmd: Path of Kerberos' kinit.
sasl.kerberos.ticket.renew.window.factor: Part of a ticket's life after which it is renewed.
sasl.kerberos.ticket.renew.jitter: Random part that is added to that time.
sasl.kerberos.min.time.before.relogin: Least time in ms between two renewals.
sasl.login.refresh.window.factor: Part of a token's life after which it is renewed.
sasl.login.refresh.window.jitter: Random part that is added to that time.
sasl.login.refresh.min.period.seconds: Least time in seconds between two renewals of a token.
sasl.login.refresh.buffer.seconds: Time in seconds before a token's end that a renewal keeps clear of.
sasl.login.connect.timeout.ms: Time in ms to wait for a connection to the authentication provider.
sasl.login.read.timeout.ms: Time in ms to wait for the authentication provider's answer.
sasl.login.retry.backoff.max.ms: Longest time in ms between two attempts to log in.
sasl.login.retry.backoff.ms: Time in ms between two attempts to log in, at first.
sasl.oauthbearer.jwt.retriever.class: Java class that gets tokens.
sasl.oauthbearer.jwt.validator.class: Java class that checks tokens.
sasl.oauthbearer.scope: Scope that a token is asked for.
sasl.oauthbearer.client.credentials.client.id: Client id for the client credentials grant.
sasl.oauthbearer.client.credentials.client.secret: Secret for the client credentials grant.
sasl.oauthbearer.assertion.algorithm: Algorithm that signs an assertion.
sasl.oauthbearer.assertion.claim.aud: Audience of an assertion.
sasl.oauthbearer.assertion.claim.exp.seconds: Time in seconds for which an assertion is valid.
sasl.oauthbearer.assertion.claim.iss: Issuer of an assertion.
sasl.oauthbearer.assertion.claim.jti.include: Whether an assertion has an id of its own.
sasl.oauthbearer.assertion.claim.nbf.seconds: Time in seconds before now from which an assertion is valid.
sasl.oauthbearer.assertion.claim.sub: Subject of an assertion.
sasl.oauthbearer.assertion.file: File that holds an assertion.
sasl.oauthbearer.assertion.private.key.file: File with the private key that signs assertions.
sasl.oauthbearer.assertion.private.key.passphrase: Pass phrase of that key.
sasl.oauthbearer.assertion.template.file: File with further headers and claims of assertions.
sasl.oauthbearer.scope.claim.name: Claim of a token that holds its scope.
sasl.oauthbearer.sub.claim.name: Claim of a token that holds its subject.
sasl.oauthbearer.token.endpoint.url: Address at which tokens are got.
sasl.oauthbearer.jwks.endpoint.url: Address of the keys that sign tokens.
sasl.oauthbearer.jwks.endpoint.refresh.ms: Time in ms between two looks for new keys.
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms: Time in ms between two attempts to get keys, at first.
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms: Longest time in ms between two attempts to get keys.
sasl.oauthbearer.clock.skew.seconds: Seconds by which the clocks of issuer and broker may differ.
sasl.oauthbearer.allow.unverified.audience: Whether tokens are accepted without a look at their audience.
sasl.oauthbearer.expected.audience: Audiences that tokens may be for.
sasl.oauthbearer.allow.unverified.issuer: Whether tokens are accepted without a look at their issuer.
sasl.oauthbearer.expected.issuer: Issuer that tokens must be from.
delegation.token.secret.key: Key that signs delegation tokens.
delegation.token.max.lifetime.ms: Time in ms after which a delegation token cannot be renewed.
delegation.token.expiry.time.ms: Time in ms after which a delegation token has to be renewed.
delegation.token.expiry.check.interval.ms: Time in ms between two looks for delegation tokens to remove.
"""
