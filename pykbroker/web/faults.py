"""Faults on order over HTTP, for tests in other languages.

    curl -d '{"api": "Produce", "topic": "orders", "error": "NOT_LEADER_OR_FOLLOWER", "times": 1}' HOST:PORT/faults
    curl -d '{"topic": "orders"}' HOST:PORT/faults/actions/move_leader

| request | |
|---|---|
| GET /faults | the faults in force, with their hits |
| POST /faults | put one in force: a JSON object of the fields of `Fault`; 201 with its id |
| GET /faults/ID, DELETE /faults/ID | one of them |
| GET /faults/ID/hits?at_least=N&timeout_ms=T | the number alone, as soon as it is N, by default 0 |
| DELETE /faults | remove them all |
| POST /faults/actions/NAME | what is no answer to a request: `rebalance`, ...; a JSON object of arguments |

Rules
- Served only with `pykbroker.http.faults.enable`, and only to programs: what a page in a browser asks is 403, whoever
  the page is of.
- What cannot be is 400, an error of Kafka's or a broker that cannot start 409, what does not come about in time 504,
  all with {"error": why}. An action is answered when it is done.
- It can do to the brokers of this process only. In `pykbroker cluster` each broker is a process with a port of its own
  for this; it cuts itself off from others in both directions, and has the supervisor start and stop the others.
- The broker that serves the port cannot be stopped by it: nobody would be left to answer.

Not here: what faults do (pykbroker/faults), the HTTP server (web/server).
"""

import inspect
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pykbroker.errors import KafkaError, StartError
from pykbroker.faults.control import Faults
from pykbroker.faults.rules import MAX_NUMBER, ActiveFault, Fault, FaultError

MAX_BODY_BYTES = 64 * 1024
WAIT_MS, MAX_WAIT_MS = 10_000, 60_000  # for hits
MAX_DIGITS = 10
ENDINGS = ("stop", "kill", "restart")

Endpoint = Callable[[Request], Awaitable[Response]]

ACTIONS = (
    "rebalance",
    "move_leader",
    "move_coordinator",
    "expire_member",
    "expire_broker",
    "expire_transaction",
    "expire_transactional_id",
    "expire_producer_ids",
    "jump_clock",
    "pass_time",
    "freeze",
    "thaw",
    "partition",
    "cut_store",
    "heal",
    "reset",
    "start",
    "stop",
    "kill",
    "restart",
)


def routes(faults: Faults, *, served_by: int | None = None) -> list[BaseRoute]:
    """Return what orders these faults. `served_by`: the broker with whose end this ends."""

    async def list_all(request: Request) -> Response:
        return Answer([_told(active) for active in faults.rules])

    async def add(request: Request) -> Response:
        active = faults.add(Fault.of(await _object_in(request)))
        return Answer(_told(active), 201, {"location": f"/faults/{active.id}"})

    async def remove_all(request: Request) -> Response:
        faults.clear()
        return Response(status_code=204)

    async def tell(request: Request) -> Response:
        active = faults.rules.get(request.path_params["id"])
        return _missing(request) if active is None else Answer(_told(active))

    async def hits(request: Request) -> Response:
        active = faults.rules.get(request.path_params["id"])
        if active is None:
            return _missing(request)
        at_least = _number_in(request, "at_least", 0, MAX_NUMBER)
        timeout_ms = _number_in(request, "timeout_ms", WAIT_MS, MAX_WAIT_MS)
        try:
            await active.wait(at_least, timeout_s=timeout_ms / 1000)
        except TimeoutError:
            return Answer({"error": f"it was met {active.hits} times, and not {at_least}"}, 504)
        return JSONResponse(active.hits)  # the digits alone, for languages where JSON is far away

    async def remove(request: Request) -> Response:
        active = faults.rules.get(request.path_params["id"])
        if active is None:
            return _missing(request)
        active.remove()
        return Response(status_code=204)

    async def act(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ACTIONS:
            return Answer({"error": f"there is no action {name}; there are {', '.join(ACTIONS)}"}, 404)
        action = getattr(faults, name)
        positional, named = _arguments(action, name, await _object_in(request))
        if served_by is not None and name in ENDINGS and named.get("broker") in (None, served_by):
            raise FaultError(
                f"broker {served_by} answers here: {name} it at the port of another broker, or from outside"
            )
        return Answer({"result": await action(*positional, **named)})

    return [
        Route("/faults", _answered(list_all), methods=["GET"]),
        Route("/faults", _answered(add), methods=["POST"]),
        Route("/faults", _answered(remove_all), methods=["DELETE"]),
        Route("/faults/{id:int}", _answered(tell), methods=["GET"]),
        Route("/faults/{id:int}", _answered(remove), methods=["DELETE"]),
        Route("/faults/{id:int}/hits", _answered(hits), methods=["GET"]),
        Route("/faults/actions/{name}", _answered(act), methods=["POST"]),
    ]


def _answered(endpoint: Endpoint) -> Endpoint:
    """Turn what an endpoint raises on purpose into answers."""

    async def answer(request: Request) -> Response:
        if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
            return Answer({"error": "faults are not ordered by pages in a browser"}, 403)
        try:
            return await endpoint(request)
        except FaultError as error:
            return Answer({"error": str(error)}, 400)
        except (KafkaError, StartError) as error:
            return Answer({"error": str(error)}, 409)
        except TimeoutError:
            return Answer({"error": "it did not come about in time"}, 504)

    return answer


class Answer(JSONResponse):
    """JSON whose line ends, as a terminal likes it."""

    def render(self, content: Any) -> bytes:
        return super().render(content) + b"\n"


def _told(active: ActiveFault) -> dict[str, Any]:
    return {"id": active.id, "hits": active.hits, **active.fault.told}


def _missing(request: Request) -> Response:
    return Answer({"error": f"there is no fault {request.path_params['id']}"}, 404)


def _number_in(request: Request, name: str, default: int, most: int) -> int:
    """Return a number of the query. Raises: FaultError."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and int(text) <= most):
        raise FaultError(f"{name} is a whole number from 0 to {most}, and not {text!r}")
    return int(text)


async def _object_in(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body; without a body, an empty one. Raises: FaultError."""
    body = b""
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise FaultError(f"the body has more than {MAX_BODY_BYTES} bytes")
    try:
        found = json.loads(body or b"{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FaultError(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FaultError("the body is not a JSON object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")


def _arguments(
    action: Callable[..., object], name: str, given: dict[str, Any]
) -> tuple[list[list[int]], dict[str, Any]]:
    """Check the arguments of an action against its signature. Raises: FaultError."""
    parameters = inspect.signature(action).parameters
    if name == "partition":
        sides = given.get("sides")
        if given.keys() != {"sides"} or not isinstance(sides, list) or not all(map(_is_side, sides)):
            raise FaultError('partition takes {"sides": [[1], [2, 3]]}')
        return sides, {}
    if unknown := given.keys() - parameters.keys():
        raise FaultError(f"{name} has no {', '.join(sorted(unknown))}")
    for parameter in parameters.values():
        if parameter.name not in given:
            if parameter.default is parameter.empty:
                raise FaultError(f"{name} needs {parameter.name}")
            continue
        value = given[parameter.name]
        annotation = parameter.annotation
        if isinstance(value, bool) or not isinstance(value, int | float if annotation is float else annotation):
            raise FaultError(f"{parameter.name} of {name} cannot be {json.dumps(value)}")
    return [], given


def _is_side(side: object) -> bool:
    return isinstance(side, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in side)
