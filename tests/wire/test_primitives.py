import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import primitives
from wire.errors import ProtocolError

quick = settings(derandomize=True, max_examples=200, deadline=None)


@quick
@given(value=st.integers(0, 2**32 - 1))
def test_uvarint_is_read_back_in_as_few_bytes_as_it_needs(value: int) -> None:
    encoded = primitives.write_uvarint(value)
    assert primitives.read_uvarint(b"?" + encoded + b"?", 1) == (value, 1 + len(encoded))
    assert len(encoded) == max(1, (value.bit_length() + 6) // 7)


@quick
@given(value=st.integers(-(2**63), 2**63 - 1))
def test_varlong_is_read_back(value: int) -> None:
    encoded = primitives.write_varint(value)
    assert primitives.read_varlong(encoded, 0) == (value, len(encoded))
    if -(2**31) <= value < 2**31:
        assert primitives.read_varint(encoded, 0) == (value, len(encoded))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, b"\0"), (-1, b"\x01"), (1, b"\x02"), (-64, b"\x7f"), (64, b"\x80\x01"), (300, b"\xd8\x04")],
)
def test_varint_is_zigzag(value: int, encoded: bytes) -> None:
    assert primitives.write_varint(value) == encoded
    assert primitives.read_varint(encoded, 0) == (value, len(encoded))


@pytest.mark.parametrize("wrong", [b"\xff\xff\xff\xff\x10", b"\x80\x80\x80\x80\x80\x00", b"\xff" * 20])
def test_uvarint_over_32_bits_is_a_protocol_error(wrong: bytes) -> None:
    with pytest.raises(ProtocolError, match="varint"):
        primitives.read_uvarint(wrong, 0)


@pytest.mark.parametrize("wrong", [b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00", b"\xff" * 20])
def test_varlong_over_64_bits_is_a_protocol_error(wrong: bytes) -> None:
    with pytest.raises(ProtocolError, match="varlong"):
        primitives.read_varlong(wrong, 0)


def test_varint_that_does_not_end_is_an_index_error_for_its_reader_to_turn() -> None:
    for read in (primitives.read_uvarint, primitives.read_varlong):
        with pytest.raises(IndexError):
            read(b"\x80\x80", 0)


def test_tags_that_claim_more_than_there_is_are_a_protocol_error() -> None:
    for wrong in (b"\x03\x00\x00\x01\x00", b"\x01\x00\x05abc", b"\xff\xff\xff\xff\x0f"):
        with pytest.raises(ProtocolError, match="tag"):
            primitives.read_tags(wrong, 0, len(wrong), [10])


def test_more_tags_than_any_message_has_are_refused_before_they_are_read() -> None:
    most = primitives.write_uvarint(primitives.MAX_TAGS) + b"\x00\x00" * primitives.MAX_TAGS
    found, pos = primitives.read_tags(most, 0, len(most), [primitives.MAX_TAGS])
    assert (len(found), pos) == (primitives.MAX_TAGS, len(most))
    beyond = primitives.write_uvarint(primitives.MAX_TAGS + 1) + b"\x00\x00" * (primitives.MAX_TAGS + 1)
    with pytest.raises(ProtocolError, match="tagged fields"):
        primitives.read_tags(beyond, 0, len(beyond), [1 << 30])


def test_tags_are_taken_from_the_budget() -> None:
    section, budget = b"\x02\x00\x00\x01\x00", [3]
    primitives.read_tags(section, 0, len(section), budget)
    assert budget == [1]
    with pytest.raises(ProtocolError, match="tagged fields"):
        primitives.read_tags(section, 0, len(section), budget)


def test_last_of_equal_tags_counts() -> None:
    section = b"\x03\x05\x01a\x04\x00\x05\x01b"
    assert primitives.read_unknown_tags(section, 0, len(section), [3]) == ({5: b"b", 4: b""}, len(section))


def test_uuid_text_is_kafkas() -> None:
    uuid = bytes.fromhex("e42a1ddaa4a64bdb8c693e35d10d39f7")
    assert primitives.uuid_text(uuid) == "5Cod2qSmS9uMaT410Q059w"
    assert primitives.parse_uuid("5Cod2qSmS9uMaT410Q059w") == uuid
    assert primitives.uuid_text(bytes(16)) == "A" * 22


@pytest.mark.parametrize("wrong", ["", "AAAA", "A" * 24, "A" * 23, "A" * 22 + "!", "é" * 22])
def test_text_that_is_no_uuid_is_a_value_error(wrong: str) -> None:
    with pytest.raises(ValueError):
        primitives.parse_uuid(wrong)
