"""Why a batch is refused.

Kafka tells the client the code alone in most cases, so the reason stays here, for logs and tests: `str(error)` has it,
`message` is None.
"""

from pykbroker.errors import KafkaError
from wire.errors import ErrorCode


class Refusal(KafkaError):
    """An error code for the client, and a reason that it is not told."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code.name}: {self.reason}"


class NotOneBatch(Refusal):
    """What a request holds for a partition is not exactly one batch; Kafka finds that before its log is asked."""


class RecordsError(KafkaError):
    """A batch was refused because of some of its records; the client is told (index in the batch, message) of each."""

    def __init__(self, code: ErrorCode, message: str, record_errors: list[tuple[int, str]]) -> None:
        super().__init__(code, message)
        self.record_errors = record_errors
