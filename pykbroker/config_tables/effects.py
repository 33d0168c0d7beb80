"""What setting a configuration does here: nothing, for these reasons, or all that it does in Kafka.

`effect_of(resource, definition)` tells; resource is broker, topic, group or client_metrics.

Format of the tables: a reason, and indented below it the names that it holds for; `*` stands for the rest of a name.

Rules
- What stands in no table is honoured; the code reads it (tests/test_config_effects).
- What is refused may still be set to its default.
- A broker's configuration that stands here is in `broker_reported`, unless topics take their default from it.
- Of two entries that hold for a name the one without `*` counts.

Not here: what configurations mean (documentation). docs/CONFIGURATION.md is made from this.
"""

import enum
from collections.abc import Iterator

import attrs

from pykbroker.config_tables.definition import ConfigDef, ConfigError, ConfigType, ConfigValue, Dynamic


class Statement(enum.Enum):
    LIVE = "honoured, live"
    AT_START = "honoured, at start"
    NO_EFFECT = "accepted without effect"
    REFUSED = "refused"


@attrs.frozen
class Effect:
    statement: Statement
    why: str = ""


_TIERED = "there is no tiered storage"
_ONE_LOOP = "one event loop does this work, without threads to count"
_STORE = "the store of the metadata takes the place of a Raft quorum"
_LATER_GROUPS = "there are only classic groups so far"
_LATER_SECURITY = "there are only plaintext listeners so far"

_NO_EFFECT = {
    "broker": f"""
{_TIERED}
    remote.*
    log.local.retention.ms log.local.retention.bytes log.remote.copy.lag.ms log.remote.copy.lag.bytes
    follower.fetch.last.tiered.offset.enable
{_ONE_LOOP}
    num.io.threads num.network.threads background.threads num.replica.alter.log.dirs.threads
    group.coordinator.threads group.coordinator.background.threads share.coordinator.threads
requests are handled as they are read; what a connection may have in progress is bounded
    queued.max.requests
logs are recovered one after the other
    num.recovery.threads.per.data.dir
a directory that fails takes its replicas out by itself, and nobody has to be told of it
    log.dir.failure.timeout.ms
files grow as they are written, which costs nothing on the file systems of Linux and macOS
    log.preallocate
what waits is found by its condition, and lists of what has ended do not exist
    fetch.purgatory.purge.interval.requests producer.purgatory.purge.interval.requests
    delete.records.purgatory.purge.interval.requests share.fetch.purgatory.purge.interval.requests
coordinators write each record at once, into no buffer that would be kept
    group.coordinator.append.linger.ms group.coordinator.cached.buffer.max.bytes
elections that a configuration allows take place at once
    unclean.leader.election.interval.ms
{_STORE}
    controller.quorum.* controller.performance.* controller.socket.timeout.ms metadata.* internal.metadata.*
    initial.broker.registration.timeout.ms early.start.listeners
    server.max.startup.time.ms sasl.mechanism.controller.protocol
versions of protocols and features that are not final are not served
    unstable.api.versions.enable unstable.feature.versions.enable
metrics are counters that grow, without samples, and no Java class reports them
    metrics.* metric.reporters kafka.metrics.*
{_LATER_GROUPS}
    group.coordinator.rebalance.protocols group.consumer.* group.share.* group.streams.*
    share.coordinator.append.linger.ms share.coordinator.cached.buffer.max.bytes share.coordinator.load.buffer.size
    share.coordinator.cold.partition.snapshot.interval.ms share.coordinator.write.timeout.ms
    share.coordinator.snapshot.update.records.per.snapshot share.coordinator.state.topic.prune.interval.ms
    share.coordinator.state.topic.compression.codec errors.deadletterqueue.*
{_LATER_SECURITY}
    ssl.* sasl.* delegation.token.* principal.builder.class security.providers connections.max.reauth.ms
    connection.failed.authentication.delay.ms
a transaction prepared for two-phase commit is not kept
    transaction.two.phase.commit.enable
""",
    "topic": f"""
{_TIERED}
    local.retention.ms local.retention.bytes remote.*
files grow as they are written, which costs nothing on the file systems of Linux and macOS
    preallocate
{_LATER_GROUPS}
    errors.deadletterqueue.group.enable
""",
    "group": f"""
{_LATER_GROUPS}
    consumer.* share.* streams.* errors.deadletterqueue.*
""",
    "client_metrics": "",
}

_REFUSED = {
    "broker": """
nobody would be kept out: access control is not there yet
    authorizer.class.name
a value that names a provider would be taken as it stands
    config.providers
there is no tiered storage
    remote.log.storage.system.enable
""",
    "topic": """
there is no tiered storage
    remote.storage.enable
""",
    "group": "",
    "client_metrics": "",
}
_NO_CLASSES = "there is no Java class but the default: a JVM to load it into is missing"


def effect_of(resource: str, definition: ConfigDef) -> Effect:
    """Return what setting it does."""
    name = definition.name
    if (why := _why(_REFUSED[resource], name)) is not None:
        return Effect(Statement.REFUSED, why)
    if definition.type is ConfigType.CLASS:
        return Effect(Statement.REFUSED, _NO_CLASSES)
    if (why := _why(_NO_EFFECT[resource], name)) is not None:
        return Effect(Statement.NO_EFFECT, why)
    is_live = resource != "broker" or definition.dynamic is not Dynamic.READ_ONLY
    return Effect(Statement.LIVE if is_live else Statement.AT_START)


def check_not_refused(resource: str, definition: ConfigDef, value: ConfigValue) -> None:
    """Raises: ConfigError, where only the default is possible here."""
    if value != definition.default and (why := _why(_REFUSED[resource], definition.name)) is not None:
        raise ConfigError(f"{definition.name} cannot be set: {why}")


def entries(resource: str) -> Iterator[str]:
    """Yield the names and patterns of the tables."""
    for table in (_REFUSED, _NO_EFFECT):
        for _, words in _lines(table[resource]):
            yield from words


def _why(table: str, name: str) -> str | None:
    found = None
    for reason, words in _lines(table):
        if name in words:
            return reason
        if any(word.endswith("*") and name.startswith(word[:-1]) for word in words):
            found = reason
    return found


def _lines(table: str) -> Iterator[tuple[str, list[str]]]:
    reason = ""
    for line in table.strip().splitlines():
        if line.startswith(" "):
            yield reason, line.split()
        else:
            reason = line
