import pytest

from pykbroker.cluster.hashing import java_string_hash, partition_for_key


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("a", 97), ("hello", 99162322), ("polygenelubricants", -2147483648)]
)
def test_well_known_hashes(text: str, value: int) -> None:
    assert java_string_hash(text) == value


@pytest.mark.parametrize("text", ["gr\u00fc\u00dfe", "\U0001f600", "a long group id that wraps around", "group-7"])
def test_hash_follows_the_definition_over_utf16_units(text: str) -> None:
    raw = text.encode("utf-16-be")
    units = [int.from_bytes(raw[place : place + 2], "big") for place in range(0, len(raw), 2)]
    total = sum(unit * 31 ** (len(units) - 1 - place) for place, unit in enumerate(units)) % 2**32
    assert java_string_hash(text) == (total - 2**32 if total >= 2**31 else total)


def test_smallest_hash_goes_to_partition_zero() -> None:
    assert partition_for_key("polygenelubricants", 50) == 0


def test_negative_hash_loses_its_sign() -> None:
    assert java_string_hash("consumers") == -421004483
    assert partition_for_key("consumers", 50) == 33
