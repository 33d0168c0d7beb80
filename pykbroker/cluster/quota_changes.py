"""What a request to change the quotas of clients makes of what was set before, and which quotas a filter finds. Pure.

Rules
- An entity has a user, a client id, or both; or it is an address alone. A name of None is the default of its type.
- What is wrong is INVALID_REQUEST, but a filter of another type of entity is UNSUPPORTED_VERSION.
- Byte rates and rates of connections are whole numbers; all quotas are above 0.
- An address may be the name of a host: whether there is one is the caller's to find out (`is_host_name`).

Sources: KIP-546, KIP-612; Kafka's ClientQuotaControlManager, ClientQuotasImage.
"""

import enum
import math
import re
from collections.abc import Collection, Mapping, Sequence

import attrs

from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import MetadataImage, QuotaEntity
from pykbroker.cluster.keys import quota_key, to_json
from pykbroker.cluster.store import Condition, Delete, Put
from pykbroker.config_tables.definition import INT_MAX, LONG_MAX
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

CLIENT_ID, IP, USER = "client-id", "ip", "user"
TYPES = (CLIENT_ID, IP, USER)
# The greatest value of a quota that is a whole number; None: it may have a fraction.
_OF_CLIENTS: Mapping[str, int | None] = {
    "producer_byte_rate": LONG_MAX,
    "consumer_byte_rate": LONG_MAX,
    "request_percentage": None,
    "controller_mutation_rate": None,
}
_OF_ADDRESSES: Mapping[str, int | None] = {"connection_creation_rate": INT_MAX}
_TYPE_NAMES = {INT_MAX: "an INT", LONG_MAX: "a LONG"}
_FRACTION = 1e-6  # what is nearer to a whole number counts as one
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")


def _invalid(text: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, text)


@attrs.frozen
class QuotaOp:
    """One entry of a request: a value of None takes the quota away."""

    key: str
    value: float | None


def entity_of(parts: Mapping[str, str | None]) -> QuotaEntity:
    return tuple(sorted(parts.items()))


def alter_quotas(image: MetadataImage, parts: Mapping[str, str | None], ops: Sequence[QuotaOp]) -> Change:
    """Set and remove quotas of one entity. Raises: INVALID_REQUEST."""
    keys = _keys_of(parts)
    entity = entity_of(parts)
    values = dict(image.client_quotas.get(entity, {}))
    for op in ops:
        if op.value is None:
            values.pop(op.key, None)
        else:
            _check_value(keys, op.key, op.value)
            values[op.key] = op.value
    key = quota_key(entity)
    if values == image.client_quotas.get(entity, {}):
        return Change()
    return Change(
        [Condition(key, image.key_revisions.get(key, 0))], [Put(key, to_json(values)) if values else Delete(key)]
    )


def _keys_of(parts: Mapping[str, str | None]) -> Mapping[str, int | None]:
    """Check an entity, and return which quotas it may have. Raises: INVALID_REQUEST."""
    if not parts:
        raise _invalid("a quota is for a user, a client id, both, or an address: none is named")
    for kind, name in parts.items():
        if kind not in TYPES:
            raise _invalid(f"there are no quotas for entities of type {kind}")
        if name == "":
            raise _invalid(f"the name of the {kind} is empty")
    if IP not in parts:
        return _OF_CLIENTS
    if len(parts) > 1:
        raise _invalid("a quota for an address cannot be for a user or a client id, too")
    address = parts[IP]
    if address is not None and numeric_address(address) is None and not is_host_name(address):
        raise no_such_host(address)
    return _OF_ADDRESSES


def is_host_name(address: str) -> bool:
    """Tell whether an address has to be looked up."""
    return _HOST_NAME.fullmatch(address) is not None and numeric_address(address) is None


def no_such_host(name: str) -> KafkaError:
    return _invalid(f"{name} is neither an address nor the name of a host that can be found")


def _check_value(keys: Mapping[str, int | None], key: str, value: float) -> None:
    if key not in keys:
        raise _invalid(f"there is no quota {key} for this type of entity")
    if not math.isfinite(value):
        raise _invalid(f"{key} is not a finite number")
    if value <= 0:
        raise _invalid(f"{key} is not greater than 0")
    greatest = keys[key]
    if greatest is not None:
        if value > greatest:
            raise _invalid(f"{key} is too large for {_TYPE_NAMES[greatest]}")
        if abs(value - math.floor(value + _FRACTION)) > _FRACTION:
            raise _invalid(f"{key} is a whole number")


def numeric_address(text: str) -> str | None:
    """Return an address in the form in which sockets tell it, or None where it is a name."""
    import socket

    try:
        if ":" in text:
            packed = socket.inet_pton(socket.AF_INET6, text)
            is_ipv4 = packed.startswith(bytes(10) + b"\xff\xff")
            return socket.inet_ntoa(packed[12:]) if is_ipv4 else socket.inet_ntop(socket.AF_INET6, packed)
        if re.fullmatch(r"[0-9.]+", text):
            return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        pass
    return None


# Describing


class MatchType(enum.IntEnum):
    EXACT = 0
    DEFAULT = 1
    ANY = 2


@attrs.frozen
class QuotaFilter:
    """Which entities are asked for: those with these names (None: the default), and with any name of these types."""

    names: Mapping[str, str | None]
    any_name: Collection[str]
    is_strict: bool  # entities that have other types, too, are left out

    @classmethod
    def build(cls, components: Sequence[tuple[str, int, str | None]], *, is_strict: bool) -> "QuotaFilter":
        """Make one of (type, MatchType, name). Raises: INVALID_REQUEST, UNSUPPORTED_VERSION."""
        names: dict[str, str | None] = {}
        any_name: set[str] = set()
        for kind, match_type, name in components:
            if not kind:
                raise _invalid("a type of entity is empty")
            if kind in names or kind in any_name:
                raise _invalid(f"the filter has the type {kind} twice")
            if kind not in TYPES:
                raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"there are no entities of type {kind}")
            if match_type not in set(MatchType):
                raise _invalid(f"there is no way {match_type} to match")
            if (match_type == MatchType.EXACT) != (name is not None):
                raise _invalid("a name is given if and only if it has to match exactly")
            if match_type == MatchType.ANY:
                any_name.add(kind)
            else:
                names[kind] = name
        if len(components) > 1 and any(kind == IP for kind, _, _ in components):
            raise _invalid("a filter for addresses cannot be one for users or client ids, too")
        return cls(names, any_name, is_strict)

    def finds(self, entity: QuotaEntity) -> bool:
        parts = dict(entity)
        if self.is_strict and len(parts) != len(self.names) + len(self.any_name):
            return False
        return all(kind in parts and parts[kind] == name for kind, name in self.names.items()) and all(
            kind in parts for kind in self.any_name
        )
