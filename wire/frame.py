"""Frames and headers.

Format: a frame is its size (int32, of what follows) and then header and body.

    request   api_key int16 | api_version int16 | correlation_id int32 | client_id nullable string | tags (header v2)
    response  correlation_id int32 | tags (header v1)

Rules
- Flexible versions of a request have header v2, their answers header v1. The client id keeps its two-byte length even
  there, so that a broker can read the header of a version it does not know.
- The answer to ApiVersions always has header v0: the client does not know yet what the broker understands.
- A header that cannot be read is a ProtocolError: without a correlation id there is no answer to give.

Sources: KIP-482, KIP-511.
"""

from collections.abc import Mapping
from struct import Struct
from struct import error as StructError

import attrs

from wire import codec
from wire.catalog import API_BY_KEY
from wire.errors import ProtocolError
from wire.primitives import ONE_BYTE, Buffer
from wire.schema import Records

API_VERSIONS = 18

_REQUEST = Struct(">hhih")
_RESPONSE = Struct(">ii")
_SIZE = Struct(">i")


@attrs.frozen
class RequestHeader:
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None = None
    unknown_tags: Mapping[int, bytes] = attrs.field(factory=dict)


def request_header_version(api_key: int, version: int) -> int:
    """Return 1 or 2. The header of an unknown key is read as version 1: nothing behind it can be understood anyway."""
    api = API_BY_KEY.get(api_key)
    return 2 if api is not None and api.is_flexible(version) else 1


def response_header_version(api_key: int, version: int) -> int:
    api = API_BY_KEY.get(api_key)
    return 1 if api is not None and api_key != API_VERSIONS and api.is_flexible(version) else 0


def decode_request_header(buffer: Buffer, pos: int = 0) -> tuple[RequestHeader, int]:
    """Read the header and return it with the position of the body. Raises: ProtocolError."""
    try:
        api_key, version, correlation_id, size = _REQUEST.unpack_from(buffer, pos)
        pos += _REQUEST.size
        client_id = None
        if size >= 0:
            if pos + size > len(buffer):
                raise codec.short("client_id", size, len(buffer) - pos)
            client_id = str(buffer[pos : pos + size], "utf-8")
            pos += size
        elif size != -1:
            raise ProtocolError(f"client_id of length {size}")
        unknown_tags = {}
        if request_header_version(api_key, version) == 2:
            if buffer[pos]:
                found, pos = codec.read_tags(buffer, pos, len(buffer))
                unknown_tags = {tag: bytes(buffer[start:end]) for tag, start, end in found}
            else:
                pos += 1
    except (StructError, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"request header: {error}") from None
    return RequestHeader(api_key, version, correlation_id, client_id, unknown_tags), pos


def encode_request(header: RequestHeader, body: object) -> bytes:
    """Return the whole frame of a request."""
    client_id = None if header.client_id is None else header.client_id.encode()
    head = _REQUEST.pack(
        header.api_key, header.api_version, header.correlation_id, -1 if client_id is None else len(client_id)
    )
    chunks: codec.Chunks = [head, client_id or b""]
    if request_header_version(header.api_key, header.api_version) == 2:
        codec.write_tags(chunks.append, [(tag, [value]) for tag, value in header.unknown_tags.items()])
    codec.encoder(type(body), header.api_version)(chunks.append, body)
    frame = b"".join(chunks)  # type: ignore[arg-type]
    return _SIZE.pack(len(frame)) + frame


def encode_response(api_key: int, version: int, correlation_id: int, body: object) -> list[Records]:
    """Return the frame of an answer as chunks; records are passed through as they are."""
    chunks: codec.Chunks = [b""]
    if response_header_version(api_key, version):
        chunks.append(ONE_BYTE[0])
    codec.encoder(type(body), version)(chunks.append, body)
    chunks[0] = _RESPONSE.pack(4 + sum(map(len, chunks)), correlation_id)
    return chunks


def decode_response_header(api_key: int, version: int, buffer: Buffer, pos: int = 0) -> tuple[int, int]:
    """Return the correlation id and the position of the body. Raises: ProtocolError."""
    try:
        (correlation_id,) = _SIZE.unpack_from(buffer, pos)
        pos += 4
        if response_header_version(api_key, version):
            _, pos = codec.read_tags(buffer, pos, len(buffer))
    except (StructError, IndexError) as error:
        raise ProtocolError(f"response header: {error}") from None
    return correlation_id, pos
