"""What is configured, for those who ask: each configuration's value, where it comes from, and what it would be
otherwise.

Rules
- Synonyms are in order of strength: this topic (or group), this broker at run time, all brokers at run time, this
  broker's properties, the default. The first one gives the value and its source.
- A topic's configuration falls back to the broker's one that it is named after in `BROKER_SYNONYMS`; of a chain (ms,
  minutes, hours) only the first is told to who describes a topic, but who creates one learns the source of the chain's
  strongest, as in Kafka.
- The value of a sensitive configuration is never told. A name that no table knows is treated as sensitive.

Not here: changing them (config_changes), the requests (handlers/configs).
Sources: KIP-226, KIP-524; Kafka's ConfigHelper.
"""

import operator
from collections.abc import Mapping

import attrs

from pykbroker import topic_config
from pykbroker.cluster.image import ConfigResourceType, MetadataImage
from pykbroker.config import DEFINITIONS as BROKER_DEFINITIONS
from pykbroker.config import DYNAMIC_ONLY, BrokerConfig, base_name
from pykbroker.config_tables.definition import ConfigDef, ConfigError, ConfigSource, ConfigType, Dynamic

Synonym = tuple[str, str | None, ConfigSource]
Levels = Mapping[ConfigSource, Mapping[str, str]]
_SOURCE_OF = operator.itemgetter(2)


@attrs.frozen
class ConfigEntry:
    name: str
    value: str | None
    source: ConfigSource
    synonyms: tuple[Synonym, ...] = ()
    type: ConfigType | None = None
    read_only: bool = False
    sensitive: bool = False


def topic_entries(
    image: MetadataImage,
    config: BrokerConfig,
    broker_id: int,
    overrides: Mapping[str, str],
    *,
    whole_chains: bool = False,
) -> list[ConfigEntry]:
    """Return what holds for a topic with these overrides, in the order of the names.

    With `whole_chains` all of a chain of the broker's configurations (ms, minutes, hours) are synonyms, as for Kafka's
    controller.
    """
    defaults = topic_config.broker_defaults(config)
    levels = broker_levels(image, config, broker_id)
    entries = []
    for name, definition in sorted(topic_config.DEFINITIONS.items()):
        if definition.internal and name not in overrides:
            continue
        synonyms: list[Synonym] = []
        if name in overrides:
            synonyms.append((name, _shown(definition, overrides[name]), ConfigSource.DYNAMIC_TOPIC))
        chain = topic_config.BROKER_SYNONYMS.get(name, ())
        for broker_name in chain if whole_chains else chain[:1]:
            synonyms += broker_synonyms(broker_name, BROKER_DEFINITIONS[broker_name], levels)
        synonyms.sort(key=_SOURCE_OF)
        value = synonyms[0][1] if name in overrides else definition.render(defaults[name])
        entries.append(_entry(name, definition, value, synonyms))
    return entries


def broker_entries(image: MetadataImage, config: BrokerConfig, broker_id: int) -> list[ConfigEntry]:
    levels = broker_levels(image, config, broker_id)
    definitions = broker_definitions()
    entries = []
    for name, definition in definitions.items():
        if not definition.internal:
            synonyms = broker_synonyms(name, definition, levels)
            value = _broker_value(config, definition, synonyms)
            entries.append(_entry(name, definition, value, synonyms, is_of_broker=True))
    others = {name: None for level in levels.values() for name in level if name not in definitions}
    definitions = changeable_definitions()
    for name in others:
        found: list[Synonym] = [
            (name, _shown_of_other(definitions, name, level[name]), source)
            for source, level in levels.items()
            if name in level and source is not ConfigSource.STATIC_BROKER
        ]
        if found and name in DYNAMIC_ONLY:
            entries.append(_entry(name, DYNAMIC_ONLY[name], found[0][1], found, is_of_broker=True))
        elif found:
            entries.append(_other_entry(definitions, name, found, levels))
    return sorted(entries, key=lambda entry: entry.name)


def _shown_of_other(definitions: Mapping[str, ConfigDef], name: str, text: str) -> str | None:
    definition = definitions.get(base_name(name))
    return None if definition is None else _shown(definition, text)


def _other_entry(definitions: Mapping[str, ConfigDef], name: str, found: list[Synonym], levels: Levels) -> ConfigEntry:
    """Describe what holds for one listener, or what no table knows: that may be a secret. Neither can be changed, in
    Kafka's words.
    """
    definition = definitions.get(base_name(name))
    if definition is None:
        return ConfigEntry(name, None, found[0][2], tuple(found), read_only=True, sensitive=True)
    synonyms = (*found, *broker_synonyms(definition.name, definition, levels)) if levels else tuple(found)
    return ConfigEntry(
        name, found[0][1], found[0][2], synonyms, definition.type, read_only=True, sensitive=definition.sensitive
    )


def default_broker_entries(image: MetadataImage) -> list[ConfigEntry]:
    """Return what was set at run time for all brokers."""
    definitions = changeable_definitions()
    source = ConfigSource.DYNAMIC_DEFAULT_BROKER
    entries = []
    for name, text in sorted(image.config(ConfigResourceType.BROKER, "").items()):
        definition = definitions.get(name)
        if definition is None:
            entries.append(
                _other_entry(definitions, name, [(name, _shown_of_other(definitions, name, text), source)], {})
            )
        else:
            value = _shown(definition, text)
            entries.append(_entry(name, definition, value, [(name, value, source)], is_of_broker=True))
    return entries


def group_entries(image: MetadataImage, config: BrokerConfig, broker_id: int, group: str) -> list[ConfigEntry]:
    from pykbroker.config_tables.group import BROKER_SYNONYMS, DEFINITIONS

    overrides = image.config(ConfigResourceType.GROUP, group)
    levels = broker_levels(image, config, broker_id)
    definitions = broker_definitions()
    entries = []
    for name, definition in sorted(DEFINITIONS.items()):
        if definition.internal and name not in overrides:
            continue
        synonyms: list[Synonym] = []
        if name in overrides:
            synonyms.append((name, _shown(definition, overrides[name]), ConfigSource.GROUP))
        if name in BROKER_SYNONYMS:
            broker_name = BROKER_SYNONYMS[name]
            synonyms += broker_synonyms(broker_name, definitions[broker_name], levels)
        else:
            synonyms.append((name, definition.render(definition.default), ConfigSource.DEFAULT))
        entries.append(_entry(name, definition, synonyms[0][1], synonyms))
    return entries


def client_metrics_entries(image: MetadataImage, subscription: str) -> list[ConfigEntry]:
    from pykbroker.config_tables.client_metrics import DEFINITIONS

    overrides = image.config(ConfigResourceType.CLIENT_METRICS, subscription)
    entries = []
    for name, definition in sorted(DEFINITIONS.items()):
        value = _shown(definition, overrides[name]) if name in overrides else definition.render(definition.default)
        synonyms: list[Synonym] = [(name, value, ConfigSource.CLIENT_METRICS)] if name in overrides else []
        entries.append(_entry(name, definition, value, synonyms))
    return entries


def broker_definitions() -> Mapping[str, ConfigDef]:
    """Return all configurations of a broker, those that are only shown among them."""
    from pykbroker.config_tables.broker_reported import REPORTED

    return {**BROKER_DEFINITIONS, **REPORTED}


def changeable_definitions() -> Mapping[str, ConfigDef]:
    """Return the definitions of what may be set for brokers that run."""
    return {**broker_definitions(), **DYNAMIC_ONLY}


def broker_levels(image: MetadataImage, config: BrokerConfig, broker_id: int) -> Levels:
    """Return what is set for a broker, the strongest first."""
    static = dict(config.properties)
    if "node.id" in static or "broker.id" in static:  # two names of one thing
        static["node.id"] = static["broker.id"] = str(config.node_id)
    return {
        ConfigSource.DYNAMIC_BROKER: image.config(ConfigResourceType.BROKER, str(broker_id)),
        ConfigSource.DYNAMIC_DEFAULT_BROKER: image.config(ConfigResourceType.BROKER, ""),
        ConfigSource.STATIC_BROKER: static,
    }


def broker_synonyms(name: str, definition: ConfigDef, levels: Levels) -> list[Synonym]:
    found: list[Synonym] = [
        (name, _shown(definition, level[name]), source) for source, level in levels.items() if name in level
    ]
    default = definition.render(definition.default)
    if default is not None:
        found.append((name, default, ConfigSource.DEFAULT))
    return found


def _broker_value(config: BrokerConfig, definition: ConfigDef, synonyms: list[Synonym]) -> str | None:
    if definition.sensitive:
        return None
    if definition.name in BROKER_DEFINITIONS:
        return definition.render(getattr(config, definition.name.replace(".", "_")))
    return synonyms[0][1] if synonyms else None


def _entry(
    name: str, definition: ConfigDef, value: str | None, synonyms: list[Synonym], *, is_of_broker: bool = False
) -> ConfigEntry:
    return ConfigEntry(
        name=name,
        value=value,
        source=synonyms[0][2] if synonyms else ConfigSource.DEFAULT,
        synonyms=tuple(synonyms),
        type=definition.type,
        read_only=definition.dynamic is Dynamic.READ_ONLY and is_of_broker,
        sensitive=definition.sensitive,
    )


def _shown(definition: ConfigDef, text: str) -> str | None:
    if definition.sensitive:
        return None
    try:
        return definition.render(definition.parse(text))
    except ConfigError:  # written under the rules of another version
        return text
