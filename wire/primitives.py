"""Read and write the variable-length primitives of the protocol; the compiled codecs inline their one-byte cases.

Format: an unsigned varint holds 7 bits per byte, least significant first, the high bit meaning "more follows"; at most
5 bytes for 32 bits, 10 for 64. A signed varint is zigzag: (n << 1) ^ (n >> 63).

Sources: KIP-482 (unsigned varints), KIP-98 (varints in records).
"""

import base64

from wire.errors import ProtocolError
from wire.schema import Uuid

Buffer = bytes | bytearray | memoryview

ONE_BYTE = tuple(bytes((value,)) for value in range(256))


def read_uvarint(buffer: Buffer, pos: int) -> tuple[int, int]:
    """Return the value of at most 32 bits and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > 0xFFFFFFFF:
                raise ProtocolError("varint over 32 bits")
            return value, pos
        shift += 7
        if shift > 28:
            raise ProtocolError("varint longer than five bytes")


def write_uvarint(value: int) -> bytes:
    if value < 0x80:
        return ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varlong(buffer: Buffer, pos: int) -> tuple[int, int]:
    """Return the zigzag value of at most 64 bits and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise ProtocolError("varlong over 64 bits")
            return (value >> 1) ^ -(value & 1), pos
        shift += 7
        if shift > 63:
            raise ProtocolError("varlong longer than ten bytes")


def read_varint(buffer: Buffer, pos: int) -> tuple[int, int]:
    """Return the zigzag value of at most 32 bits and the position after it."""
    value, pos = read_uvarint(buffer, pos)
    return (value >> 1) ^ -(value & 1), pos


def write_varint(value: int) -> bytes:
    """Write a zigzag varint; one function serves 32 and 64 bits, as the encodings agree."""
    return write_uvarint((value << 1) ^ (value >> 63))


def uuid_text(uuid: Uuid) -> str:
    """Kafka's text form: URL-safe base64 without padding, 22 characters."""
    return base64.urlsafe_b64encode(uuid).rstrip(b"=").decode()


def parse_uuid(text: str) -> Uuid:
    """Raises: ValueError where the text is not a uuid of 16 bytes."""
    uuid = base64.urlsafe_b64decode(text + "==")
    if len(uuid) != 16:
        raise ValueError(f"not a uuid: {text!r}")
    return uuid
