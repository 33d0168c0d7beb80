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
from typing import NamedTuple

from wire import codec
from wire.catalog import APIS
from wire.errors import ProtocolError
from wire.primitives import MAX_TAGS, ONE_BYTE, Buffer, Chunks, read_unknown_tags, short, write_tags
from wire.schema import NO_TAGS, Records

API_VERSIONS = 18

_REQUEST = Struct(">hhih")
_request_at = _REQUEST.unpack_from
_RESPONSE = Struct(">ii")
_SIZE = Struct(">i")
_NEVER = 32768
_FLEXIBLE_FROM = {api.key: api.flexible_from if api.flexible_from >= 0 else _NEVER for api in APIS}


class RequestHeader(NamedTuple):
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None = None
    unknown_tags: Mapping[int, bytes] = NO_TAGS


def request_header_version(api_key: int, version: int) -> int:
    """Return 1 or 2. The header of an unknown key is read as version 1: nothing behind it can be understood anyway."""
    return 2 if version >= _FLEXIBLE_FROM.get(api_key, _NEVER) else 1


def response_header_version(api_key: int, version: int) -> int:
    return 1 if version >= _FLEXIBLE_FROM.get(api_key, _NEVER) and api_key != API_VERSIONS else 0


def decode_request_header(buffer: Buffer, pos: int = 0) -> tuple[RequestHeader, int]:
    """Read the header and return it with the position of the body. Raises: ProtocolError."""
    api_key, version, correlation_id, client_id, unknown_tags, pos = read_request_header(buffer, pos)
    return RequestHeader(api_key, version, correlation_id, client_id, unknown_tags), pos


def read_request_header(buffer: Buffer, pos: int = 0) -> tuple[int, int, int, str | None, Mapping[int, bytes], int]:
    """Read the header as the fields of a `RequestHeader` and the position of the body, for who needs no object.

    Raises: ProtocolError.
    """
    try:
        api_key, version, correlation_id, size = _request_at(buffer, pos)
        pos += 10
        client_id = None
        if size >= 0:
            end = pos + size
            client_id = str(buffer[pos:end], "utf-8", "replace")
            pos = end
        if version < _FLEXIBLE_FROM.get(api_key, _NEVER):
            if pos > len(buffer):
                raise short("client id", size, len(buffer) - pos + size)
            return api_key, version, correlation_id, client_id, NO_TAGS, pos
        if not buffer[pos]:
            return api_key, version, correlation_id, client_id, NO_TAGS, pos + 1
        unknown_tags, pos = read_unknown_tags(buffer, pos, len(buffer), [MAX_TAGS])
        return api_key, version, correlation_id, client_id, unknown_tags, pos
    except (codec.StructError, IndexError, ProtocolError) as error:
        raise ProtocolError(f"request header: {error}") from None


def encode_request(header: RequestHeader, body: object) -> bytes:
    """Return the whole frame of a request."""
    client_id = None if header.client_id is None else header.client_id.encode()
    head = _REQUEST.pack(
        header.api_key, header.api_version, header.correlation_id, -1 if client_id is None else len(client_id)
    )
    chunks: Chunks = [head, client_id or b""]
    if request_header_version(header.api_key, header.api_version) == 2:
        write_tags(chunks.append, [], header.unknown_tags)
    codec.encoder(type(body), header.api_version)(chunks.append, body)
    frame = b"".join(chunks)  # type: ignore[arg-type]
    return _SIZE.pack(len(frame)) + frame


def encode_response(api_key: int, version: int, correlation_id: int, body: object) -> Chunks:
    """Return the frame of an answer as chunks; records are passed through as they are."""
    chunks: list[Records] = [b""]
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
            _, pos = read_unknown_tags(buffer, pos, len(buffer), [MAX_TAGS])
    except (codec.StructError, IndexError, ProtocolError) as error:
        raise ProtocolError(f"response header: {error}") from None
    return correlation_id, pos
