"""The four codecs of record batches, in the framings that Kafka's clients write.

Format
- gzip: RFC 1952; several members may follow one another.
- snappy: written in xerial's framing (a 16-byte header, then blocks of `length u32, raw snappy`), as Java clients do;
  read in that framing, headers in the middle included, or as one raw snappy block, as librdkafka writes it.
- lz4: an LZ4 frame of independent blocks of 64 KB without checksums (Java clients read no dependent blocks); any frame
  is read.
- zstd: standard frames, also several of them.

Rules
- No more than `max_bytes` is decompressed, however large the data is or claims to be.
- `decompress_pieces` holds one piece at a time: 256 KB, or a block where blocks are larger. Our library decompresses
  zstd and raw snappy only as a whole: there it is `max_bytes` at most, until the last piece was taken.

Sources: KIP-110 (zstd), KIP-390 (levels), Kafka's Compression classes.
"""

import enum
import itertools
import mmap
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

import cramjam

from wire.errors import LimitError, ProtocolError
from wire.schema import RecordBytes

XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = XERIAL_MAGIC + struct.pack(">ii", 1, 1)  # version, oldest version that can read it
_XERIAL_BLOCK_BYTES = 32 * 1024

# Magic; version 1 with independent blocks; blocks of at most 64 KB; second byte of the xxHash32 of the last two.
_LZ4_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"
_LZ4_BLOCK_BYTES = 64 * 1024
_LZ4_STORED = 0x80000000
_LZ4_MAGIC = _LZ4_HEADER[:4]
_LZ4_INDEPENDENT = 0x60  # among the flags of version, independence, reserved, dictionary
_LZ4_HAS_CHECKSUMS = 0x10
_LZ4_HAS_SIZE = 0x08
_LZ4_BLOCK_SIZES = {0x40: 64 * 1024, 0x50: 256 * 1024, 0x60: 1024 * 1024, 0x70: 4 * 1024 * 1024}

_GZIP_MAGIC = b"\x1f\x8b"
_INPUT_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
_TOO_SMALL = "write whole buffer"  # what cramjam says of a buffer that is

_DecompressInto = Callable[[RecordBytes, bytearray | mmap.mmap], int]


class Codec(enum.IntEnum):
    """The low three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(codec: Codec, data: RecordBytes, level: int | None = None) -> bytes:
    """Compress `data`; `level` is the codec's own scale (None: its default), and means nothing to snappy."""
    return compress_pieces(codec, (data,), level)


def compress_pieces(codec: Codec, pieces: Iterable[RecordBytes], level: int | None = None) -> bytes:
    """Compress what `pieces` are together, without having it in memory."""
    return _COMPRESS[codec](pieces, level)


def decompress(codec: Codec, data: RecordBytes, max_bytes: int) -> bytes:
    """Raises: ProtocolError where `data` is malformed, LimitError where it has more than `max_bytes` decompressed."""
    return b"".join(decompress_pieces(codec, data, max_bytes))


def decompress_pieces(codec: Codec, data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    """Yield the decompressed data in pieces, mostly of at most 256 KB, decompressing as it is asked for them.

    Raises: as `decompress`, but only after the pieces that were within the limit.
    """
    left = max_bytes
    try:
        for piece in _DECOMPRESS[codec](data, max_bytes):
            left -= len(piece)
            if left < 0:
                raise _too_large(max_bytes)
            yield piece
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise ProtocolError(f"malformed {codec.name.lower()} data: {error}") from None


def _too_large(max_bytes: int) -> LimitError:
    return LimitError(f"more than {max_bytes} bytes when decompressed")


def _copy(pieces: Iterable[RecordBytes], level: int | None) -> bytes:
    return b"".join(pieces)


def _copy_pieces(data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    yield bytes(data)


def _gzip_compress(pieces: Iterable[RecordBytes], level: int | None) -> bytes:
    deflate = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([*map(deflate.compress, pieces), deflate.flush()])


def _gzip_pieces(data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    view = memoryview(data)
    pos = 0
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    unread: RecordBytes = b""
    while True:
        if not unread:
            unread = view[pos : pos + _INPUT_BYTES]
            pos += len(unread)
        piece = inflate.decompress(unread, _PIECE_BYTES)
        if piece:
            yield piece
        elif not unread and not inflate.eof:
            raise ProtocolError("gzip data ends early")
        unread = inflate.unconsumed_tail
        if inflate.eof:
            pos -= len(inflate.unused_data)
            if view[pos : pos + 2] != _GZIP_MAGIC:  # Java ignores what follows the last member
                return
            inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            unread = b""


def _snappy_compress(pieces: Iterable[RecordBytes], level: int | None) -> bytes:
    parts = [_XERIAL_HEADER]
    for plain in _blocks(pieces, _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(plain))
        parts += (struct.pack(">i", len(block)), block)
    return b"".join(parts)


def _blocks(pieces: Iterable[RecordBytes], size: int) -> Iterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), size):
            yield view[start : start + size]


def _snappy_pieces(data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    view = memoryview(data)
    if view[: len(XERIAL_MAGIC)] != XERIAL_MAGIC:
        yield _snappy_block(view, max_bytes)
        return
    pos = 0
    while pos < len(view):
        if view[pos : pos + len(XERIAL_MAGIC)] == XERIAL_MAGIC:  # streams may be concatenated
            pos += len(_XERIAL_HEADER)
            continue
        (length,) = struct.unpack_from(">i", view, pos)
        pos += 4
        if not 0 <= length <= len(view) - pos:
            raise ProtocolError("snappy block longer than its data")
        yield _snappy_block(view[pos : pos + length], max_bytes)
        pos += length


def _snappy_block(block: memoryview, max_bytes: int) -> bytes:
    length = cramjam.snappy.decompress_raw_len(block)
    if length > max_bytes:
        raise _too_large(max_bytes)
    if length > 64 * len(block):  # no snappy element says more than 64 bytes
        raise ProtocolError("snappy block claims more than it can hold")
    out = bytearray(length)
    if cramjam.snappy.decompress_raw_into(block, out) != length:
        raise ProtocolError("snappy block shorter than it claims")
    return bytes(out)


def _lz4_compress(pieces: Iterable[RecordBytes], level: int | None) -> bytes:
    parts = [_LZ4_HEADER]
    for plain in _blocks(pieces, _LZ4_BLOCK_BYTES):
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


def _lz4_pieces(data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    """Decompress block by block where blocks are independent, which is what all clients of Kafka write.

    The checksums that a frame may have are passed over: the batch has one of its own.
    """
    view = memoryview(data)
    if len(view) < 7 or view[:4] != _LZ4_MAGIC or view[4] & 0xE1 != _LZ4_INDEPENDENT:
        yield from _whole(cramjam.lz4.decompress_into, data, max_bytes)
        return
    flags, largest = view[4], _LZ4_BLOCK_SIZES.get(view[5])
    pos = 14 if flags & _LZ4_HAS_SIZE else 6
    if largest is None or len(view) <= pos or view[pos] != _short_xxh32(view[4:pos]) >> 8 & 0xFF:
        raise ProtocolError("malformed header of an lz4 frame")
    pos += 1
    out = bytearray(largest)
    while True:
        (length,) = struct.unpack_from("<I", view, pos)
        pos += 4
        if not length:
            return
        size = length & ~_LZ4_STORED
        block = view[pos : pos + size]
        if len(block) < size or size > largest:
            raise ProtocolError("lz4 block longer than its data, or than its frame allows")
        if length & _LZ4_STORED:
            yield bytes(block)
        else:
            yield bytes(memoryview(out)[: cramjam.lz4.decompress_block_into(block, out, output_len=largest)])
        pos += size + (4 if flags & _LZ4_HAS_CHECKSUMS else 0)


def _short_xxh32(data: memoryview) -> int:
    """xxHash32, seed 0, of fewer than 16 bytes."""
    value = 374761393 + len(data)
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        value = _rotated(value + word * 3266489917, 17) * 668265263
    for byte in data[whole:]:
        value = _rotated(value + byte * 374761393, 11) * 2654435761
    value &= 0xFFFFFFFF
    value = (value ^ value >> 15) * 2246822519 & 0xFFFFFFFF
    value = (value ^ value >> 13) * 3266489917 & 0xFFFFFFFF
    return value ^ value >> 16


def _rotated(value: int, bits: int) -> int:
    value &= 0xFFFFFFFF
    return (value << bits | value >> 32 - bits) & 0xFFFFFFFF


def _zstd_compress(pieces: Iterable[RecordBytes], level: int | None) -> bytes:
    level = 3 if level is None else level
    rest = iter(pieces)
    first, second = next(rest, b""), next(rest, None)
    if second is None:  # in one call it takes a third of the time
        return bytes(cramjam.zstd.compress(first, level=level))
    compressor = cramjam.zstd.Compressor(level=level)
    for piece in itertools.chain((first, second), rest):
        compressor.compress(piece)
    return bytes(compressor.finish())


def _zstd_pieces(data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    yield from _whole(cramjam.zstd.decompress_into, data, max_bytes)


def _whole(decompress_into: _DecompressInto, data: RecordBytes, max_bytes: int) -> Iterator[bytes]:
    """Decompress what can only be decompressed in one go. Frames need not say how long they are.

    Beyond a first guess, the buffer is a mapping of the limit's size: it costs no more memory than is written to it,
    and all of that goes back to the system at once.
    """
    guess = max(_PIECE_BYTES, 8 * len(data))
    if guess < max_bytes:
        small = bytearray(guess)
        try:
            length = decompress_into(data, small)
        except cramjam.DecompressionError as error:
            if _TOO_SMALL not in str(error):
                raise
        else:
            yield bytes(memoryview(small)[:length])
            return
        del small
    with mmap.mmap(-1, max(max_bytes, 1)) as large:
        try:
            length = decompress_into(data, large)
        except cramjam.DecompressionError as error:
            if _TOO_SMALL not in str(error):
                raise
            raise _too_large(max_bytes) from None
        for start in range(0, length, _PIECE_BYTES):
            yield large[start : min(start + _PIECE_BYTES, length)]


_COMPRESS: dict[Codec, Callable[[Iterable[RecordBytes], int | None], bytes]] = {
    Codec.NONE: _copy,
    Codec.GZIP: _gzip_compress,
    Codec.SNAPPY: _snappy_compress,
    Codec.LZ4: _lz4_compress,
    Codec.ZSTD: _zstd_compress,
}
_DECOMPRESS: dict[Codec, Callable[[RecordBytes, int], Iterator[bytes]]] = {
    Codec.NONE: _copy_pieces,
    Codec.GZIP: _gzip_pieces,
    Codec.SNAPPY: _snappy_pieces,
    Codec.LZ4: _lz4_pieces,
    Codec.ZSTD: _zstd_pieces,
}
