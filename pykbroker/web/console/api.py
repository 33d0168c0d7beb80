"""What all of the console's JSON has in common: requests are checked, and failures are responses.

    @json_endpoint
    async def topics(request) -> Json: ...

A response that is no 200 is `{"error": NAME, "message": text for a person}`: 400 the request makes no sense, 404 it is
not there, 503 the cluster does not answer (in time), 502 it refuses, or what it has cannot be read.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

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


class BadRequestError(Exception):
    """The request makes no sense; says why."""


def json_endpoint(endpoint: Callable[[Request], Awaitable[Mapping[str, Json]]]) -> Endpoint:
    """Make a response of what an endpoint returns, or of its failure."""

    async def respond(request: Request) -> Response:
        try:
            return JSONResponse(await endpoint(request))
        except BadRequestError as error:
            return error_response(400, "BAD_REQUEST", str(error))
        except KafkaError as error:
            status = 404 if error.code in _NOT_FOUND else 503 if error.code.retriable else 502
            return error_response(status, error.code.name, error.message or error.code.name)
        except NotServedError as error:
            return error_response(502, "NOT_SERVED", str(error))
        except ProtocolError as error:
            return error_response(502, "MALFORMED", f"This cannot be read: {error}")
        except MemoryError:
            return error_response(502, "TOO_LARGE", "This is too large to be shown.")
        except NoBrokerError as error:
            return error_response(503, "NO_BROKER", str(error))
        except OSError as error:
            return error_response(503, "NO_ANSWER", f"A broker does not answer: {reason(error)}")

    return respond


def error_response(status: int, name: str, message: str) -> Response:
    return JSONResponse({"error": name, "message": message}, status)


def server_sent_event(name: str, data: Mapping[str, Json]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"  # JSON has no line ends of its own


def int_param(request: Request, name: str, default: int, *, at_least: int, at_most: int) -> int:
    """Read a number of the query. Raises: BadRequestError."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        raise BadRequestError(f"{name} is not a number") from None
    if not at_least <= number <= at_most:
        raise BadRequestError(f"{name} is not between {at_least} and {at_most}")
    return number


def text_param(request: Request, name: str) -> str:
    """Read a text of the query. Raises: BadRequestError."""
    text = request.query_params.get(name)
    if text is None:
        raise BadRequestError(f"{name} is missing")
    return text


def json_object(body: bytes) -> Mapping[str, Any]:
    """Read a body. Raises: BadRequestError."""
    try:
        read = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(read, dict):
        raise BadRequestError("the body is not an object")
    return read


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
