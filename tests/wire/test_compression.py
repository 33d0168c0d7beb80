import contextlib
import gzip
import random
import struct
import tracemalloc

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.compression import XERIAL_MAGIC, Codec, compress, decompress
from wire.errors import ProtocolError

COMPRESSED = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]
NOISE = random.Random(7).randbytes(200_000)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("data", [b"", b"a", b"ab" * 300_000, NOISE], ids=["empty", "one", "repeated", "noise"])
def test_compress_then_decompress_returns_the_data(codec: Codec, data: bytes) -> None:
    assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.LZ4, Codec.ZSTD])
def test_compress_with_a_level_is_readable(codec: Codec) -> None:
    data = b"some words, some words again, " * 1000
    assert decompress(codec, compress(codec, data, 9), len(data)) == data


@pytest.mark.parametrize("codec", Codec)
def test_decompress_over_the_limit_is_refused(codec: Codec) -> None:
    with pytest.raises(ProtocolError):
        decompress(codec, compress(codec, b"x" * 1000), 999)


@pytest.mark.parametrize("codec", COMPRESSED)
def test_decompress_of_a_bomb_stays_within_the_limit(codec: Codec) -> None:
    bomb = compress(codec, bytes(32 * 1024 * 1024))
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        decompress(codec, bomb, 1024 * 1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@given(st.sampled_from(COMPRESSED), st.binary(max_size=200))
def test_decompress_of_garbage_raises_protocol_error_or_returns(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert len(decompress(codec, data, 10_000)) <= 10_000


@pytest.mark.parametrize("codec", COMPRESSED)
def test_decompress_of_truncated_data_raises_protocol_error(codec: Codec) -> None:
    whole = compress(codec, NOISE[:1000])
    for end in range(0, len(whole) - 4, 13):
        try:
            assert decompress(codec, whole[:end], 5000) != NOISE[:1000]
        except ProtocolError:
            continue


def test_gzip_of_several_members_is_joined() -> None:
    assert decompress(Codec.GZIP, gzip.compress(b"one") + gzip.compress(b"two"), 100) == b"onetwo"


def test_zstd_of_several_frames_is_joined() -> None:
    data = bytes(cramjam.zstd.compress(b"one")) + bytes(cramjam.zstd.compress(b"two"))
    assert decompress(Codec.ZSTD, data, 100) == b"onetwo"


def test_snappy_is_written_in_xerial_framing() -> None:
    data = compress(Codec.SNAPPY, b"x" * 40_000)
    assert data[:16] == XERIAL_MAGIC + struct.pack(">ii", 1, 1)
    (first_block,) = struct.unpack_from(">i", data, 16)
    assert cramjam.snappy.decompress_raw_len(data[20 : 20 + first_block]) == 32 * 1024


def test_snappy_raw_block_is_readable() -> None:
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(b"raw" * 50)), 1000) == b"raw" * 50


def test_snappy_streams_joined_are_readable() -> None:
    data = compress(Codec.SNAPPY, b"one") + compress(Codec.SNAPPY, b"two")
    assert decompress(Codec.SNAPPY, data, 100) == b"onetwo"


def test_snappy_that_lies_about_its_length_is_refused() -> None:
    lying = bytes((0xFF, 0xFF, 0xFF, 0xFF, 0x07)) + b"abc"
    with pytest.raises(ProtocolError):
        decompress(Codec.SNAPPY, lying, 1 << 31)


def test_lz4_is_written_in_independent_blocks_without_checksums() -> None:
    data = compress(Codec.LZ4, b"x" * 100_000)
    assert data[:7] == bytes.fromhex("04224d18604082")
    assert bytes(cramjam.lz4.decompress(data)) == b"x" * 100_000


def test_lz4_of_other_encoders_is_readable() -> None:
    assert decompress(Codec.LZ4, bytes(cramjam.lz4.compress(NOISE)), len(NOISE)) == NOISE
