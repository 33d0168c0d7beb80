"""What all of the console's JSON has in common: questions are checked, and failures are answers.

    @answered
    async def topics(request) -> Json: ...

An answer that is no 200 is `{"error": NAME, "message": text for a person}`: 400 what was asked makes no sense, 404 it
is not there, 503 the cluster does not answer (in time), 502 it refuses.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pykbroker.client import NoBrokerError, NotServedError
from pykbroker.client.client import reason
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode, ProtocolError

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
Endpoint = Callable[[Request], Awaitable[Response]]

_NOT_FOUND = (
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.INVALID_TOPIC_EXCEPTION,
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.BROKER_NOT_AVAILABLE,
)


class BadQuestionError(Exception):
    """What was asked makes no sense; says why."""


def answered(endpoint: Callable[[Request], Awaitable[Mapping[str, Json]]]) -> Endpoint:
    """Make an answer of what an endpoint returns, or of its failure."""

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await endpoint(request))
        except BadQuestionError as error:
            return failure(400, "BAD_QUESTION", str(error))
        except KafkaError as error:
            status = 404 if error.code in _NOT_FOUND else 503 if error.code.retriable else 502
            return failure(status, error.code.name, error.message or error.code.name)
        except NotServedError as error:
            return failure(502, "NOT_SERVED", str(error))
        except ProtocolError as error:  # of records that a producer made, and no broker looked into
            return failure(502, "MALFORMED", f"This cannot be read: {error}")
        except NoBrokerError as error:
            return failure(503, "NO_BROKER", str(error))
        except OSError as error:
            return failure(503, "NO_ANSWER", f"A broker does not answer: {reason(error)}")

    return answer


def failure(status: int, name: str, message: str) -> Response:
    return JSONResponse({"error": name, "message": message}, status)


def whole_number(request: Request, name: str, default: int, *, at_least: int, at_most: int) -> int:
    """Read a number of the query. Raises: BadQuestionError."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        raise BadQuestionError(f"{name} is not a number") from None
    if not at_least <= number <= at_most:
        raise BadQuestionError(f"{name} is not between {at_least} and {at_most}")
    return number


def required(request: Request, name: str) -> str:
    """Read a text of the query. Raises: BadQuestionError."""
    text = request.query_params.get(name)
    if text is None:
        raise BadQuestionError(f"{name} is missing")
    return text
