"""The bit fields of authorized operations, as a cluster without an authorizer fills them in.

Format: bit n stands for the operation with the code n of `AclOperation`; a field that nobody asked for is -2^31.
Sources: KIP-430, Kafka's AclEntry.supportedOperations.
"""

from typing import Final


def _bits(*codes: int) -> int:
    return sum(1 << code for code in codes)


_READ, _WRITE, _CREATE, _DELETE, _ALTER, _DESCRIBE, _CLUSTER_ACTION = range(3, 10)
_DESCRIBE_CONFIGS, _ALTER_CONFIGS, _IDEMPOTENT_WRITE = range(10, 13)

NOT_ASKED: Final = -(1 << 31)
TOPIC_OPERATIONS: Final = _bits(_READ, _WRITE, _CREATE, _DELETE, _ALTER, _DESCRIBE, _DESCRIBE_CONFIGS, _ALTER_CONFIGS)
CLUSTER_OPERATIONS: Final = _bits(
    _CREATE, _ALTER, _DESCRIBE, _CLUSTER_ACTION, _DESCRIBE_CONFIGS, _ALTER_CONFIGS, _IDEMPOTENT_WRITE
)
GROUP_OPERATIONS: Final = _bits(_READ, _DELETE, _DESCRIBE, _DESCRIBE_CONFIGS, _ALTER_CONFIGS)
