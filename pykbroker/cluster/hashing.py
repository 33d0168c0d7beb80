"""Java's string hash, by which Kafka places groups and transactional ids on partitions of its internal topics."""


def java_string_hash(text: str) -> int:
    """Return `text.hashCode()` of Java: over UTF-16 code units, as a signed 32-bit number."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def partition_for_key(key: str, partitions: int) -> int:
    """Return the partition of an internal topic that coordinates `key`. Source: Utils.abs, which maps -2^31 to 0."""
    value = java_string_hash(key)
    return (0 if value == -(1 << 31) else abs(value)) % partitions
