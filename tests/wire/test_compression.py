import contextlib
import gzip
import random
import struct
import tracemalloc

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.compression import XERIAL_MAGIC, Codec, compress, compress_pieces, decompress, decompress_pieces
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


@pytest.mark.parametrize("codec", COMPRESSED)
def test_pieces_are_compressed_as_what_they_are_together(codec: Codec) -> None:
    pieces = [NOISE[:70_000], b"", NOISE[70_000:], b"end"]
    assert decompress(codec, compress_pieces(codec, iter(pieces)), 1 << 20) == NOISE + b"end"


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4])
def test_pieces_are_decompressed_in_little_memory(codec: Codec) -> None:
    data = compress(codec, bytes(32 * 1024 * 1024))
    tracemalloc.start()
    assert sum(map(len, decompress_pieces(codec, data, 1 << 30))) == 32 * 1024 * 1024
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024


def lz4_frame(flags: int, descriptor: bytes, blocks: bytes) -> bytes:
    """A frame of blocks of at most 64 KB; the second byte of the descriptor's xxHash32 comes from the library."""
    head = b"\x04\x22\x4d\x18" + bytes((flags, 0x40)) + descriptor
    for checksum in range(256):
        frame = head + bytes((checksum,)) + blocks
        with contextlib.suppress(cramjam.DecompressionError):
            cramjam.lz4.decompress(frame)
            return frame
    raise AssertionError


STORED_ABC = struct.pack("<I", 3 | 0x80000000) + b"abc"


@pytest.mark.parametrize(
    "frame",
    [
        lz4_frame(0x60, b"", STORED_ABC + bytes(4)),
        lz4_frame(0x68, struct.pack("<Q", 3), STORED_ABC + bytes(4)),
        lz4_frame(0x40, b"", STORED_ABC + bytes(4)),
        lz4_frame(0x70, b"", STORED_ABC + struct.pack("<I", 0x32D153FF) + bytes(4)),  # xxHash32 of abc
        lz4_frame(0x64, b"", STORED_ABC + bytes(4) + struct.pack("<I", 0x32D153FF)),
    ],
    ids=["plain", "with_size", "dependent_blocks", "block_checksums", "content_checksum"],
)
def test_lz4_frame_of_any_kind_is_read(frame: bytes) -> None:
    assert decompress(Codec.LZ4, frame, 100) == b"abc"


@pytest.mark.parametrize("position", [4, 5, 6])
def test_lz4_frame_with_a_damaged_header_is_refused(position: int) -> None:
    frame = bytearray(lz4_frame(0x60, b"", STORED_ABC + bytes(4)))
    frame[position] ^= 0x10
    with pytest.raises(ProtocolError):
        decompress(Codec.LZ4, frame, 100)


def test_lz4_block_larger_than_its_frame_allows_is_refused() -> None:
    block = bytes(cramjam.lz4.compress_block(bytes(65537), store_size=False))
    frame = lz4_frame(0x60, b"", bytes(4))[:7] + struct.pack("<I", len(block)) + block + bytes(4)
    with pytest.raises(ProtocolError):
        decompress(Codec.LZ4, frame, 1 << 20)
