"""The kinds of failure that code in the broker raises on purpose.

`KafkaError` is a protocol outcome: raised where it is known, caught in a handler's per-partition loop or in dispatch.
`StartError` is for whoever starts a broker. `StorageError` means that the disk failed: the log directory goes offline.
`wire.errors.ProtocolError` (the peer's bytes are wrong) and `CloseConnection` end the connection. Anything else is a
bug of ours, and is caught only to be counted.
"""

from wire.errors import ErrorCode


class KafkaError(Exception):
    """An answer with an error code; `message` goes to the client where the response has a place for it."""

    def __init__(self, code: ErrorCode, message: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name


def error_of(code: int) -> ErrorCode:
    """Return the error with a code; one that is newer than this program is some failure."""
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.UNKNOWN_SERVER_ERROR


class StorageError(Exception):
    """An I/O error of a log directory."""


class StartError(Exception):
    """The broker cannot start; the message is fit for a person."""


class CloseConnection(Exception):
    """A request that gets no answer failed: closing its connection is the only way to tell (produce with acks=0).

    `last_bytes` are still sent, behind the answers that are ready: what is left of an answer that was cut off.
    """

    def __init__(self, reason: str, last_bytes: bytes = b"") -> None:
        super().__init__(reason)
        self.last_bytes = last_bytes
