"""The error codes in a response of any kind: which of them, and how many of each.

Rules: every field `error_code` of the message and of the structs in it counts, also NONE; where they are is found out
once for each class, from its declaration.
Source: Kafka's AbstractResponse.errorCounts.
"""

from collections.abc import Iterator
from typing import Any

import attrs

from wire.errors import ErrorCode
from wire.schema import Kind, spec_of

ERROR_CODE = "error_code"


@attrs.frozen
class _Plan:
    """Where the codes of a class are: in itself, and behind these fields in structs or lists of them."""

    has_code: bool
    inner: "tuple[tuple[str, bool, _Plan], ...]"  # name, whether it is a list


class ResponseErrors:
    def __init__(self) -> None:
        self._plans: dict[type, _Plan] = {}

    def codes(self, response: object) -> Iterator[int]:
        """Yield each code as it stands there."""
        return _codes(response, self._plan(type(response)))

    def _plan(self, message: type[Any]) -> _Plan:
        plan = self._plans.get(message)
        if plan is None:
            inner = []
            has_code = False
            for field in spec_of(message).fields:
                if field.name == ERROR_CODE:
                    has_code = True
                elif isinstance(field.element, type):
                    below = self._plan(field.element)
                    if below.has_code or below.inner:
                        inner.append((field.name, field.kind is Kind.ARRAY, below))
            plan = self._plans[message] = _Plan(has_code, tuple(inner))
        return plan


def _codes(message: Any, plan: _Plan) -> Iterator[int]:
    if plan.has_code:
        yield message.error_code
    for name, is_list, below in plan.inner:
        value = getattr(message, name)
        if not is_list:
            value = (value,)
        for each in value or ():
            if each is not None:
                yield from _codes(each, below)


def error_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return ErrorCode.UNKNOWN_SERVER_ERROR.name
