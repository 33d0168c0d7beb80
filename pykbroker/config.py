"""The broker's configuration: Kafka's property names as typed fields.

    config = BrokerConfig.from_properties(read_properties(path))
    config.socket_request_max_bytes                             # socket.request.max.bytes

Owns: the values in force. They come, the strongest first, from: what was set at run time for this broker, what was set
at run time as the default of all brokers, the properties that the broker started with, the defaults.

Rules
- `config_tables.broker` declares what pykbroker acts on. What Kafka has besides and pykbroker only understands and
  shows (`config_tables.broker_reported`) is loaded when a property names one, or when somebody asks.
- Unknown properties are kept and ignored, as Kafka does.
- `apply_dynamic` changes values in place: whoever holds the config sees them at once, so nothing caches a field.
- A None stands for "not set"; the `..._effective` properties resolve Kafka's chains (ms before minutes before hours).

Not here: the topics' own configurations (topic_config), DescribeConfigs and its sources (handlers/configs).
Sources: Kafka's KafkaConfig and the classes of its groups of configs, DynamicBrokerConfig; KIP-226.
"""

import logging
from collections.abc import Mapping

from pykbroker.config_tables.broker import NO_RATE, BrokerTable, DynamicOnlyTable
from pykbroker.config_tables.definition import INT_MAX, ConfigDef, ConfigError, ConfigValue, Dynamic, definitions_of
from pykbroker.config_tables.endpoints import Endpoint, parse_endpoints
from pykbroker.config_tables.properties_file import parse_properties, read_properties

__all__ = [
    "NO_RATE", "BrokerConfig", "ConfigError", "Endpoint", "parse_endpoints", "parse_properties", "read_properties",
]  # fmt: skip

logger = logging.getLogger("pykbroker.config")


class BrokerConfig(BrokerTable):
    """The configuration of one broker; built by `from_properties`."""

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "BrokerConfig":
        """Build the configuration of a starting broker. Raises: ConfigError."""
        config = cls()
        config.properties = dict(properties)
        config._take(config.properties)
        config._check_reported()
        config.check()
        return config

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self._dynamic: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def is_set(self, name: str) -> bool:
        """Tell whether somebody chose this value, at start or at run time."""
        return name in self.properties or any(name in level for level in self._dynamic)

    def apply_dynamic(self, cluster_wide: Mapping[str, str], this_broker: Mapping[str, str]) -> None:
        """Put what was set at run time in force; what is no longer set falls back. Values were validated when set."""
        before = {name for level in self._dynamic for name in level}
        self._dynamic = (dict(cluster_wide), dict(this_broker))
        effective = {**self.properties, **cluster_wide, **this_broker}
        for name in before | set(cluster_wide) | set(this_broker):
            definition = DEFINITIONS.get(name)
            if definition is not None and definition.dynamic is not Dynamic.READ_ONLY:
                self._take_dynamic(definition, effective)
            elif (definition := DYNAMIC_ONLY.get(name)) is not None:
                self._take_dynamic(definition, {**cluster_wide, **this_broker})

    def _take_dynamic(self, definition: ConfigDef, properties: Mapping[str, str]) -> None:
        try:
            setattr(self, definition.name.replace(".", "_"), _value(definition, properties))
        except ConfigError as error:  # written by another version: what was in force stays
            logger.warning("%s", error)

    def limit_of_listener(self, listener: str, name: str) -> int:
        """Return `listener.name.<listener>.<name>`, a limit of that listener alone; INT_MAX: it has none."""
        name = f"listener.name.{listener.lower()}.{name}"
        cluster_wide, this_broker = self._dynamic
        for level in (this_broker, cluster_wide, self.properties):
            if name in level:
                return int(level[name])
        return INT_MAX

    def with_dynamic(self, cluster_wide: Mapping[str, str], this_broker: Mapping[str, str]) -> "BrokerConfig":
        """Return what this configuration would be with these values set at run time."""
        made = BrokerConfig()
        made.__dict__.update(self.__dict__)
        made.apply_dynamic(cluster_wide, this_broker)
        return made

    def value_of(self, name: str) -> ConfigValue:
        """Return the value in force of any configuration, also of one that nothing here acts on."""
        if name in DEFINITIONS:
            value: ConfigValue = getattr(self, name.replace(".", "_"))
            return value
        from pykbroker.config_tables.broker_reported import REPORTED

        return _value(REPORTED[name], {**self.properties, **self._dynamic[0], **self._dynamic[1]})

    def _take(self, properties: Mapping[str, str]) -> None:
        self.__dict__.update({name.replace(".", "_"): _value(row, properties) for name, row in DEFINITIONS.items()})
        # Either name of the pair may be given alone.
        if "broker.id" in properties and "node.id" not in properties:
            self.node_id = self.broker_id
        elif self.broker_id == -1:
            self.broker_id = self.node_id
        if not self.log_dirs:
            self.log_dirs = self.log_dir

    def check(self) -> None:
        """Check what holds between several configurations. Raises: ConfigError."""
        if "broker" not in self.process_roles:
            raise ConfigError("process.roles has no broker: the store does the work of controllers")
        if self.broker_id != self.node_id:
            raise ConfigError(f"broker.id is {self.broker_id} but node.id is {self.node_id}: they must be equal")
        self._check_logs()
        self._check_listeners()
        if self.group_min_session_timeout_ms > self.group_max_session_timeout_ms:
            raise ConfigError("group.min.session.timeout.ms is greater than group.max.session.timeout.ms")
        if 0 < self.queued_max_request_bytes <= self.socket_request_max_bytes:
            raise ConfigError("queued.max.request.bytes is not greater than socket.request.max.bytes")
        if self.offsets_topic_compression_codec not in range(5):
            raise ConfigError("offsets.topic.compression.codec is not the number of a codec (0 to 4)")
        if not self.max_connections_per_ip and not self.max_connections_per_ip_overrides:
            raise ConfigError("max.connections.per.ip can be 0 only where max.connections.per.ip.overrides is set")

    def _check_reported(self) -> None:
        """Check the properties that nothing here acts on, too: a typing error in them should not pass silently."""
        others = [name for name in self.properties if name not in DEFINITIONS]
        if not others:
            return
        from pykbroker.config_tables.broker_reported import REPORTED
        from pykbroker.config_tables.effects import check_not_refused
        from pykbroker.config_tables.group import problem_of_defaults

        for name in others:
            base = base_name(name)
            if (definition := DEFINITIONS.get(base) or REPORTED.get(base)) is not None:
                check_not_refused("broker", definition, definition.parse(self.properties[name]))
        if problem := problem_of_defaults(self.value_of):
            raise ConfigError(problem)

    def log_what_is_ignored(self) -> None:
        """Say which properties nothing acts on, and which may be typing errors."""
        others = sorted(name for name in self.properties if base_name(name) not in DEFINITIONS)
        if not others:
            return
        from pykbroker.config_tables.broker_reported import REPORTED
        from pykbroker.config_tables.effects import Statement, effect_of

        known = {name: REPORTED[base_name(name)] for name in others if base_name(name) in REPORTED}
        effects = {name: effect_of("broker", definition).statement for name, definition in known.items()}
        if idle := [name for name, statement in effects.items() if statement is Statement.NO_EFFECT]:
            logger.info("accepted without effect (docs/CONFIGURATION.md says why): %s", ", ".join(idle))
        if unknown := [name for name in others if name not in known and base_name(name) not in DYNAMIC_ONLY]:
            logger.warning("no such configuration, ignored: %s", ", ".join(unknown))

    def _check_logs(self) -> None:
        if not all(self.log_dirs):
            raise ConfigError("log.dirs has an empty entry")
        cordoned = self.cordoned_log_dirs
        unknown = [each for each in cordoned if each not in (*self.log_dirs, "*")]
        if unknown:
            raise ConfigError(f"cordoned.log.dirs has {unknown[0]}, which is not among log.dirs")
        if "*" in cordoned and len(cordoned) > 1:
            raise ConfigError("cordoned.log.dirs has * and others: * stands for all")
        retention_ms, retention_bytes = self.log_retention_ms_effective, self.log_retention_bytes
        if not retention_ms:
            raise ConfigError("log.retention.ms cannot be 0: -1 is unlimited, 1 is the least")
        _check_part("log.local.retention.ms", self.log_local_retention_ms, "log.retention.ms", retention_ms)
        _check_part("log.local.retention.bytes", self.log_local_retention_bytes, "log.retention.bytes", retention_bytes)
        local_ms = retention_ms if self.log_local_retention_ms == -2 else self.log_local_retention_ms
        local_bytes = retention_bytes if self.log_local_retention_bytes == -2 else self.log_local_retention_bytes
        _check_part("log.remote.copy.lag.ms", self.log_remote_copy_lag_ms, "log.local.retention.ms", local_ms, -1)
        _check_part(
            "log.remote.copy.lag.bytes", self.log_remote_copy_lag_bytes, "log.local.retention.bytes", local_bytes, -1
        )
        threads = self.log_cleaner_threads
        if self.log_cleaner_enable and threads and self.log_cleaner_dedupe_buffer_size // threads <= 1024 * 1024:
            raise ConfigError(f"log.cleaner.dedupe.buffer.size is to be more than 1 MB for each of {threads} threads")

    def _check_listeners(self) -> None:
        if not self.client_endpoints:
            raise ConfigError("listeners has no listener for clients")
        advertised = {endpoint.listener for endpoint in self.advertised_endpoints}
        listening = {endpoint.listener for endpoint in self.client_endpoints}
        if not advertised or not listening.issuperset(advertised):
            raise ConfigError(
                f"advertised.listeners names {', '.join(sorted(advertised)) or 'none'} but listeners has "
                f"{', '.join(sorted(listening))}"
            )
        for endpoint in self.advertised_endpoints:
            if self.advertised_listeners is not None and endpoint.host in ("0.0.0.0", "::"):
                raise ConfigError(
                    f"advertised.listeners cannot use the address {endpoint.host}: no client can reach it"
                )
        inter_broker = self.inter_broker_listener_name
        if inter_broker is not None and inter_broker.upper() not in advertised:
            raise ConfigError(f"inter.broker.listener.name {inter_broker} is not among the advertised listeners")

    @property
    def security_protocols(self) -> dict[str, str]:
        """The protocol of each listener's name."""
        pairs = [pair.strip() for pair in self.listener_security_protocol_map.split(",") if pair.strip()]
        protocols = {}
        for pair in pairs:
            name, _, protocol = pair.rpartition(":")
            if protocol not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
                raise ConfigError(f"listener.security.protocol.map: {pair} is not NAME:PROTOCOL")
            protocols[name.upper()] = protocol
        return protocols

    @property
    def client_endpoints(self) -> list[Endpoint]:
        """The listeners to open; the controllers' own are left out, since the store does their work."""
        return self._not_controllers(parse_endpoints("listeners", self.listeners, self._all_protocols))

    @property
    def controller_listeners(self) -> list[str]:
        """The entries of `listeners` that are the controllers', and not opened."""
        controllers = self._controller_names
        return [entry for entry in self.listeners if entry.partition("://")[0].upper() in controllers]

    @property
    def advertised_endpoints(self) -> list[Endpoint]:
        """Where clients are told to connect, before ports of 0 and empty hosts are filled in."""
        if self.advertised_listeners is None:
            return self.client_endpoints
        return self._not_controllers(
            parse_endpoints("advertised.listeners", self.advertised_listeners, self._all_protocols)
        )

    @property
    def _all_protocols(self) -> dict[str, str]:
        # A controller's listener may stay without an entry in the map: Kafka takes PLAINTEXT for it then.
        return {name.upper(): "PLAINTEXT" for name in self.controller_listener_names} | self.security_protocols

    def _not_controllers(self, endpoints: list[Endpoint]) -> list[Endpoint]:
        controllers = self._controller_names
        return [endpoint for endpoint in endpoints if endpoint.listener not in controllers]

    @property
    def _controller_names(self) -> set[str]:
        return {name.upper() for name in self.controller_listener_names}

    @property
    def log_retention_ms_effective(self) -> int:
        for value, unit_ms in (
            (self.log_retention_ms, 1),
            (self.log_retention_minutes, 60_000),
            (self.log_retention_hours, 3_600_000),
        ):
            if value is not None:
                return -1 if value < 0 else value * unit_ms
        raise AssertionError("log.retention.hours has a default")

    @property
    def log_roll_ms_effective(self) -> int:
        return self.log_roll_ms if self.log_roll_ms is not None else self.log_roll_hours * 3_600_000

    @property
    def log_roll_jitter_ms_effective(self) -> int:
        return (
            self.log_roll_jitter_ms if self.log_roll_jitter_ms is not None else self.log_roll_jitter_hours * 3_600_000
        )

    @property
    def log_flush_interval_ms_effective(self) -> int:
        interval_ms = self.log_flush_interval_ms
        return interval_ms if interval_ms is not None else self.log_flush_scheduler_interval_ms

    @property
    def inter_broker_listener_effective(self) -> str:
        return (self.inter_broker_listener_name or self.security_inter_broker_protocol).upper()


DEFINITIONS: Mapping[str, ConfigDef] = definitions_of(BrokerTable)
DYNAMIC_ONLY: Mapping[str, ConfigDef] = definitions_of(DynamicOnlyTable)


def _value(definition: ConfigDef, properties: Mapping[str, str]) -> ConfigValue:
    text = properties.get(definition.name)
    return definition.parse(text) if text is not None else definition.default


def _check_part(name: str, value: int, whole_name: str, whole: int, *unlimited: int) -> None:
    """Check a limit that is a part of another one; -1 is no limit, -2 as much as the other one."""
    if value != -2 and value not in unlimited and whole >= 0 and (value == -1 or value > whole):
        raise ConfigError(f"{name} cannot be {value}: {whole_name} is {whole}")


def base_name(name: str) -> str:
    """Return a configuration's name without the `listener.name.<listener>.` that limits it to a listener."""
    return name.split(".", 3)[3] if name.startswith("listener.name.") and name.count(".") > 2 else name
