"""Decode and encode messages: one decoder and one encoder are compiled per (message, version), on first use.

    decode(FetchRequest, 13, frame, pos)  ->  (FetchRequest, position after it)
    encode(response, 13)                  ->  chunks: bytes, and records as they were given

Rules
- Whatever the bytes are, decoding returns or raises `ProtocolError`.
- Nothing is allocated before the bytes left are known to suffice: count x smallest element <= bytes left. Besides, a
  message may hold at most `max_elements` array elements and tagged fields, since an object costs more memory than its
  bytes. An element takes a byte at least, so only a message of more bytes than that is decoded by the variant that
  counts elements.
- Encoding a field that the version lacks raises `ProtocolError`, unless the field is ignorable or holds its default.
  Unknown tagged fields are written back where the version is flexible and dropped where it is not.
- The source of what is compiled is in `linecache` (tracebacks show it); `source()` returns it for reading.

Not here: how the source is written (decoder_source, encoder_source), frames and headers (frame), record batches
(records).
"""

import functools
import linecache
from collections.abc import Callable
from struct import error as StructError  # noqa: N812 (the module's own name says nothing)
from typing import Any, TypeVar, cast

from wire.decoder_source import DecoderSource
from wire.encoder_source import EncoderSource
from wire.errors import ProtocolError
from wire.primitives import Buffer, Chunks
from wire.schema import Records, spec_of

__all__ = ["MAX_ELEMENTS", "Chunks", "Decoder", "Encoder", "StructError"]

T = TypeVar("T")
# (buffer, pos, len(buffer), [elements that the message may still hold]) -> (message, position after it).
# Besides ProtocolError it lets IndexError and StructError out, which `decode` turns into one.
Decoder = Callable[[memoryview, int, int, list[int]], tuple[Any, int]]
# (the function that takes each chunk, message)
Encoder = Callable[[Callable[[Records], None], Any], None]

MAX_ELEMENTS = 1_000_000


def _cache(compiling: Callable[[type[Any], int], T]) -> Callable[[type[Any], int], T]:
    # To mypy a class is not hashable (it looks at the __hash__ of its instances), so the cached function has our type.
    return cast(Callable[[type[Any], int], T], functools.cache(compiling))


def decode(
    message: type[T], version: int, buffer: Buffer, pos: int = 0, *, max_elements: int = MAX_ELEMENTS
) -> tuple[T, int]:
    """Decode `message` at `pos`; `records` fields are views of `buffer`. Raises: ProtocolError."""
    try:
        return decoder(message, version)(memoryview(buffer), pos, len(buffer), [max_elements])
    except (StructError, IndexError, ProtocolError) as error:
        raise ProtocolError(f"{message.__name__} v{version}: {error}") from None


def encode(message: object, version: int) -> Chunks:
    """Encode `message` as chunks to be sent in order; only `records` are not plain bytes."""
    chunks: Chunks = []
    encoder(type(message), version)(chunks.append, message)
    return chunks


def encode_bytes(message: object, version: int) -> bytes:
    """Encode a message whose records, if any, are in memory."""
    return b"".join(encode(message, version))  # type: ignore[arg-type]


@_cache
def decoder(message: type[Any], version: int) -> Decoder:
    made = DecoderSource(message, _checked(message, version))

    def decode_counted(buffer: memoryview, pos: int, end: int, budget: list[int]) -> tuple[Any, int]:
        return _counting_decoder(message, version)(buffer, pos, end, budget)

    made.names["_decode_counted"] = decode_counted
    compiled: Decoder = _compiled(made, f"decode {message.__name__} v{version}", "_decode")
    return compiled


@_cache
def _counting_decoder(message: type[Any], version: int) -> Decoder:
    made = DecoderSource(message, version, counted=True)
    compiled: Decoder = _compiled(made, f"decode {message.__name__} v{version}, counting", "_decode")
    return compiled


@_cache
def encoder(message: type[Any], version: int) -> Encoder:
    made = EncoderSource(message, _checked(message, version))
    compiled: Encoder = _compiled(made, f"encode {message.__name__} v{version}", "_encode")
    return compiled


def source(message: type[Any], version: int) -> str:
    """The Python source that serves `message` at `version`: its decoder, then its encoder."""
    _checked(message, version)
    return f"{DecoderSource(message, version).text}\n\n{EncoderSource(message, version).text}"


def _checked(message: type[Any], version: int) -> int:
    spec = spec_of(message)
    if version not in spec.versions:
        raise ProtocolError(f"{spec.name} has no version {version}")
    return version


def _compiled(made: DecoderSource | EncoderSource, title: str, function: str) -> Any:
    name = f"<{title}>"
    linecache.cache[name] = (len(made.text), None, made.text.splitlines(keepends=True), name)
    exec(compile(made.text, name, "exec"), made.names)
    return made.names[function]
