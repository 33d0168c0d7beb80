"""Which partition a record goes to: the same one as with Kafka's Java clients.

Source: Kafka's Utils.murmur2 (MurmurHash2 by Austin Appleby, 32 bits, a fixed seed), BuiltInPartitioner.
"""

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def partition_of_key(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the hash as an unsigned number of 32 bits."""
    size = len(data)
    whole = size & ~3
    h = _SEED ^ size
    for pos in range(0, whole, 4):
        k = int.from_bytes(data[pos : pos + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < size:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15
