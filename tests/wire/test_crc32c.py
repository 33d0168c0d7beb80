import pytest
from crcmod.predefined import mkPredefinedCrcFun
from hypothesis import given
from hypothesis import strategies as st

from wire.crc32c import crc32c

independent = mkPredefinedCrcFun("crc-32c")


def test_crc32c_of_check_string_is_the_published_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=300))
def test_crc32c_agrees_with_crcmod(data: bytes) -> None:
    assert crc32c(data) == independent(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_crc32c_takes_any_buffer(kind: type) -> None:
    assert crc32c(kind(b"kafka")) == independent(b"kafka")


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_crc32c_continues_from_a_value(first: bytes, second: bytes) -> None:
    assert crc32c(second, crc32c(first)) == crc32c(first + second)
