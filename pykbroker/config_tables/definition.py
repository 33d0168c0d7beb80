"""What a configuration is: its type, default, allowed values, and when it may change.

`ConfigDef.parse` turns text into a value or says in one line what is wrong with it; `render` turns a value
into the text that DescribeConfigs shows.

Rules
- Text is trimmed; booleans ignore case; a list is split at commas, and an empty text is an empty list.
- A default of None means "not set"; None is never written as text.
- A configuration's name is the attribute's name with dots for underscores, so it is written once.

Not here: the tables themselves (config, topic_config, broker_reported, group, client_metrics), the documentation texts.
Sources: Kafka's ConfigDef (types, parsing, messages), ConfigEntry (numbers of types and sources on the wire).
"""

import enum
import re
from collections.abc import Callable
from typing import Any

import attrs


class ConfigError(Exception):
    """A configuration is wrong. The text is one line for whoever wrote it."""


class ConfigType(enum.IntEnum):
    """The numbers are those of DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigSource(enum.IntEnum):
    """Where a value comes from; the numbers are those of DescribeConfigs."""

    UNKNOWN = 0
    DYNAMIC_TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class Operation(enum.IntEnum):
    """What is done to one configuration; the numbers are those of IncrementalAlterConfigs."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Dynamic(enum.Enum):
    """When a broker's configuration may be changed."""

    READ_ONLY = "read-only"  # at start
    PER_BROKER = "per-broker"  # while running, for one broker
    CLUSTER_WIDE = "cluster-wide"  # while running, for one broker or as the default of all


READ_ONLY, PER_BROKER, CLUSTER_WIDE = Dynamic.READ_ONLY, Dynamic.PER_BROKER, Dynamic.CLUSTER_WIDE

ConfigValue = bool | int | float | str | list[str] | None
Validator = Callable[[Any], str | None]  # returns what is wrong


INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1
_BOUNDS = {
    ConfigType.SHORT: (-(2**15), 2**15 - 1),
    ConfigType.INT: (-(2**31), INT_MAX),
    ConfigType.LONG: (-(2**63), LONG_MAX),
}
# As Java reads one, but for the hexadecimal form: no underscores, and its own names for what is no number.
_DOUBLE = r"([+-]?(?:NaN|Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))[fFdD]?"


@attrs.define(eq=False)
class ConfigDef:
    """One configuration. `name` is filled in from the attribute's name where the table is a class."""

    type: ConfigType
    default: ConfigValue
    check: Validator | None = None
    dynamic: Dynamic = READ_ONLY
    internal: bool = False  # understood, but not shown by DescribeConfigs
    name: str = ""

    @property
    def sensitive(self) -> bool:
        return self.type is ConfigType.PASSWORD

    def parse(self, text: str) -> ConfigValue:
        """Return the value of `text`. Raises: ConfigError."""
        value = self._typed(text)
        wrong = self.check(value) if self.check is not None else None
        if wrong is not None:
            raise self._error(self.render(value) or text, wrong)
        return value

    def _typed(self, text: str) -> ConfigValue:
        text = text if self.type is ConfigType.PASSWORD else text.strip()
        match self.type:
            case ConfigType.BOOLEAN:
                if text.lower() not in ("true", "false"):
                    raise self._error(text, "it is true or false")
                return text.lower() == "true"
            case ConfigType.INT | ConfigType.SHORT | ConfigType.LONG:
                low, high = _BOUNDS[self.type]
                digits = text[1:] if text[:1] in ("-", "+") else text
                if not digits.isdecimal() or not low <= int(text) <= high:
                    raise self._error(text, f"it is no {self.type.name}")
                return int(text)
            case ConfigType.DOUBLE:
                number = re.fullmatch(_DOUBLE, text)
                if number is None:
                    raise self._error(text, "it is no DOUBLE")
                return float(number[1])
            case ConfigType.LIST:
                return [part.strip() for part in text.split(",")] if text else []
        return text

    def render(self, value: object) -> str | None:
        if value is None:
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return _java_double(value)
        if isinstance(value, list | tuple):
            return ",".join(map(str, value))
        return str(value)

    def _error(self, text: str, wrong: str) -> ConfigError:
        return ConfigError(f"{self.name} cannot be {text}: {wrong}")


def _java_double(value: float) -> str:
    """Write a double as Java does: 1.7976931348623157E308, 1.0E7, but 0.5 and 9999999.0."""
    from decimal import Decimal

    unusual = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    if repr(value) in unusual:
        return unusual[repr(value)]
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    return f"{'-' * sign}{text[0]}.{text[1:] or '0'}E{int(exponent) + len(text) - 1}"


# Declarations: each returns Any, so that `num_partitions: int = integer(1, at_least(1))` types the attribute as an int.


def boolean(default: ConfigValue, dynamic: Dynamic = READ_ONLY, *, internal: bool = False) -> Any:
    return ConfigDef(ConfigType.BOOLEAN, default, None, dynamic, internal)


def string(
    default: ConfigValue, check: Validator | None = None, dynamic: Dynamic = READ_ONLY, *, internal: bool = False
) -> Any:
    return ConfigDef(ConfigType.STRING, default, check, dynamic, internal)


def integer(
    default: ConfigValue, check: Validator | None = None, dynamic: Dynamic = READ_ONLY, *, internal: bool = False
) -> Any:
    return ConfigDef(ConfigType.INT, default, check, dynamic, internal)


def short(
    default: ConfigValue, check: Validator | None = None, dynamic: Dynamic = READ_ONLY, *, internal: bool = False
) -> Any:
    return ConfigDef(ConfigType.SHORT, default, check, dynamic, internal)


def long(
    default: ConfigValue, check: Validator | None = None, dynamic: Dynamic = READ_ONLY, *, internal: bool = False
) -> Any:
    return ConfigDef(ConfigType.LONG, default, check, dynamic, internal)


def double(
    default: ConfigValue, check: Validator | None = None, dynamic: Dynamic = READ_ONLY, *, internal: bool = False
) -> Any:
    return ConfigDef(ConfigType.DOUBLE, default, check, dynamic, internal)


def strings(
    default: ConfigValue, check: Validator | None = None, dynamic: Dynamic = READ_ONLY, *, internal: bool = False
) -> Any:
    return ConfigDef(ConfigType.LIST, default, check, dynamic, internal)


def java_class(default: ConfigValue, dynamic: Dynamic = READ_ONLY, *, internal: bool = False) -> Any:
    """The name of a Java class. Any but the default is one that cannot be found: there is no JVM to load it into."""

    def check(value: str) -> str | None:
        return None if value == default else "no such class can be found, since there is no JVM here"

    return ConfigDef(ConfigType.CLASS, default, check, dynamic, internal)


def password(default: ConfigValue, dynamic: Dynamic = READ_ONLY, *, internal: bool = False) -> Any:
    return ConfigDef(ConfigType.PASSWORD, default, None, dynamic, internal)


def definitions_of(table: type) -> dict[str, ConfigDef]:
    """Collect the definitions that stand in a class body, and give them their names."""
    found = {}
    for attribute, definition in vars(table).items():
        if isinstance(definition, ConfigDef):
            definition.name = attribute.replace("_", ".")
            found[definition.name] = definition
    return found


# Checks


def at_least(low: float) -> Validator:
    return lambda value: f"{low} is the least" if value < low else None


def between(low: float, high: float) -> Validator:
    def check(value: float) -> str | None:
        if value < low:
            return f"{low} is the least"
        return f"{high} is the most" if value > high else None

    return check


def one_of(*allowed: str) -> Validator:
    return lambda value: None if value in allowed else f"one of {', '.join(allowed)} is possible"


def one_of_ignoring_case(*allowed: str) -> Validator:
    folded = {name.upper() for name in allowed}
    return lambda value: None if value.upper() in folded else f"one of {', '.join(allowed)} is possible"


def some_of(*allowed: str, empty: bool = False, repeated: bool = False) -> Validator:
    """A list of these words; `repeated`: a word may stand there twice."""
    items = distinct if not repeated else no_empty_items

    def check(value: list[str]) -> str | None:
        if not value and not empty:
            return "the list is empty"
        if any(item not in allowed for item in value if item):
            return f"one of {', '.join(allowed)} is possible"
        return items(value)

    return check


def distinct(value: list[str]) -> str | None:
    """A list without empty items in which none stands twice."""
    if len(set(value)) < len(value):
        return "an item is there twice"
    return no_empty_items(value)


def no_empty_items(value: list[str]) -> str | None:
    return None if all(value) else "an item is empty"


def not_empty(value: str | list[str]) -> str | None:
    return None if value else "it is empty"


def host_counts(value: str) -> str | None:
    """`host:count,host:count…`, or nothing; empty entries count for nothing."""
    for entry in filter(None, map(str.strip, value.split(","))):
        _, colon, count = entry.rpartition(":")
        if not colon or not count.strip().removeprefix("-").isdecimal():
            return f"{entry} is not HOST:COUNT"
    return None


def minus_one_or_between(low: int, high: int) -> Validator:
    def check(value: int) -> str | None:
        return None if value == -1 or low <= value <= high else f"{low} to {high} are possible, and -1"

    return check
