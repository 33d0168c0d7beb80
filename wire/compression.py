"""The four codecs of record batches, in the framings that Kafka's clients write.

Format
- gzip: RFC 1952; several members may follow one another.
- snappy: written in xerial's framing (a 16-byte header, then blocks of `length u32, raw snappy`), as Java clients do;
  read in that framing, headers in the middle included, or as one raw snappy block, as librdkafka writes it.
- lz4: an LZ4 frame of independent blocks of 64 KB without checksums (Java clients read no dependent blocks); any frame
  is read.
- zstd: standard frames, also several of them.

Rules: `decompress` allocates no more than `max_bytes`, however large the data claims to be.

Sources: KIP-110 (zstd), KIP-390 (levels), Kafka's Compression classes.
"""

import enum
import struct
import zlib
from collections.abc import Callable

import cramjam

from wire.errors import ProtocolError
from wire.schema import RecordBytes

XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = XERIAL_MAGIC + struct.pack(">ii", 1, 1)  # version, oldest version that can read it
_XERIAL_BLOCK_BYTES = 32 * 1024

# Magic; version 1 with independent blocks; blocks of at most 64 KB; second byte of the xxHash32 of the last two.
_LZ4_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"
_LZ4_BLOCK_BYTES = 64 * 1024
_LZ4_STORED = 0x80000000

_FIRST_GUESS_BYTES = 64 * 1024


class Codec(enum.IntEnum):
    """The low three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(codec: Codec, data: RecordBytes, level: int | None = None) -> bytes:
    """Compress `data`; `level` is the codec's own scale (None: its default), and means nothing to snappy."""
    return _COMPRESS[codec](data, level)


def decompress(codec: Codec, data: RecordBytes, max_bytes: int) -> bytes:
    """Raises: ProtocolError where `data` is malformed, or longer than `max_bytes` when decompressed."""
    try:
        return _DECOMPRESS[codec](data, max_bytes)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise ProtocolError(f"malformed {codec.name.lower()} data: {error}") from None


def _too_large(max_bytes: int) -> ProtocolError:
    return ProtocolError(f"more than {max_bytes} bytes when decompressed")


def _copy(data: RecordBytes, level: int | None) -> bytes:
    return bytes(data)


def _copy_bounded(data: RecordBytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return bytes(data)


def _gzip_compress(data: RecordBytes, level: int | None) -> bytes:
    deflate = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


def _gzip_decompress(data: RecordBytes, max_bytes: int) -> bytes:
    parts = []
    rest: RecordBytes = data
    left = max_bytes
    while True:
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        part = inflate.decompress(rest, left + 1)
        left -= len(part)
        if left < 0:
            raise _too_large(max_bytes)
        if not inflate.eof:
            raise ProtocolError("gzip data ends early")
        parts.append(part)
        rest = inflate.unused_data
        if rest[:2] != b"\x1f\x8b":  # Java ignores what follows the last member
            return b"".join(parts) if len(parts) > 1 else part


def _snappy_compress(data: RecordBytes, level: int | None) -> bytes:
    parts = [_XERIAL_HEADER]
    view = memoryview(data)
    for start in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (struct.pack(">i", len(block)), block)
    return b"".join(parts)


def _snappy_decompress(data: RecordBytes, max_bytes: int) -> bytes:
    view = memoryview(data)
    if view[: len(XERIAL_MAGIC)] != XERIAL_MAGIC:
        return _snappy_block(view, max_bytes, max_bytes)
    parts = []
    left = max_bytes
    pos = 0
    while pos < len(view):
        if view[pos : pos + len(XERIAL_MAGIC)] == XERIAL_MAGIC:  # streams may be concatenated
            pos += len(_XERIAL_HEADER)
            continue
        (length,) = struct.unpack_from(">i", view, pos)
        pos += 4
        if not 0 <= length <= len(view) - pos:
            raise ProtocolError("snappy block longer than its data")
        part = _snappy_block(view[pos : pos + length], left, max_bytes)
        left -= len(part)
        parts.append(part)
        pos += length
    return b"".join(parts)


def _snappy_block(block: memoryview, left: int, max_bytes: int) -> bytes:
    length = cramjam.snappy.decompress_raw_len(block)
    if length > left:
        raise _too_large(max_bytes)
    if length > 64 * len(block):  # no snappy element says more than 64 bytes
        raise ProtocolError("snappy block claims more than it can hold")
    out = bytearray(length)
    if cramjam.snappy.decompress_raw_into(block, out) != length:
        raise ProtocolError("snappy block shorter than it claims")
    return bytes(out)


def _lz4_compress(data: RecordBytes, level: int | None) -> bytes:
    parts = [_LZ4_HEADER]
    view = memoryview(data)
    for start in range(0, len(view), _LZ4_BLOCK_BYTES):
        plain = view[start : start + _LZ4_BLOCK_BYTES]
        if level is None:
            block = bytes(cramjam.lz4.compress_block(plain, store_size=False))
        else:
            block = bytes(
                cramjam.lz4.compress_block(plain, store_size=False, mode="high_compression", compression=level)
            )
        if len(block) < len(plain):
            parts += (struct.pack("<I", len(block)), block)
        else:
            parts += (struct.pack("<I", len(plain) | _LZ4_STORED), bytes(plain))
    parts.append(b"\x00\x00\x00\x00")
    return b"".join(parts)


def _lz4_decompress(data: RecordBytes, max_bytes: int) -> bytes:
    return _grow(cramjam.lz4.decompress_into, data, max_bytes)


def _zstd_compress(data: RecordBytes, level: int | None) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=3 if level is None else level))


def _zstd_decompress(data: RecordBytes, max_bytes: int) -> bytes:
    return _grow(cramjam.zstd.decompress_into, data, max_bytes)


def _grow(decompress_into: Callable[[RecordBytes, bytearray], int], data: RecordBytes, max_bytes: int) -> bytes:
    """Decompress into a buffer that grows up to the limit: frames need not say how long they are."""
    size = max(_FIRST_GUESS_BYTES, 8 * len(data))
    while True:
        size = min(size, max_bytes)
        out = bytearray(size)
        try:
            length = decompress_into(data, out)
        except cramjam.DecompressionError as error:
            if "write whole buffer" not in str(error):
                raise
            if size == max_bytes:
                raise _too_large(max_bytes) from None
            size *= 4
        else:
            return bytes(memoryview(out)[:length])


_COMPRESS: dict[Codec, Callable[[RecordBytes, int | None], bytes]] = {
    Codec.NONE: _copy,
    Codec.GZIP: _gzip_compress,
    Codec.SNAPPY: _snappy_compress,
    Codec.LZ4: _lz4_compress,
    Codec.ZSTD: _zstd_compress,
}
_DECOMPRESS: dict[Codec, Callable[[RecordBytes, int], bytes]] = {
    Codec.NONE: _copy_bounded,
    Codec.GZIP: _gzip_decompress,
    Codec.SNAPPY: _snappy_decompress,
    Codec.LZ4: _lz4_decompress,
    Codec.ZSTD: _zstd_decompress,
}
