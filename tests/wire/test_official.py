"""Every declaration equals the official definition of Apache Kafka 4.4, down to each default."""

import importlib
import pkgutil
from typing import Any

import pytest

import wire.messages
from tests.wire.official import (
    OfficialField,
    OfficialMessage,
    body_messages,
    official_messages,
    our_class,
    rows,
    snake_case,
)
from wire.catalog import API_BY_KEY, API_BY_NAME, APIS, request_class, response_class
from wire.errors import ErrorCode
from wire.frame import RequestHeader, encode_request, encode_response, request_header_version, response_header_version
from wire.schema import ZERO_UUID, FieldSpec, Kind, MessageType, StructSpec, spec_of

TYPES = {"request": MessageType.REQUEST, "response": MessageType.RESPONSE}
USUAL_DEFAULTS = {
    Kind.BOOL: False,
    Kind.FLOAT64: 0.0,
    Kind.UUID: ZERO_UUID,
    Kind.STRING: "",
    Kind.BYTES: b"",
    Kind.RECORDS: None,
    Kind.ARRAY: (),
    Kind.STRUCT: (),
}


@pytest.mark.parametrize("message", body_messages(), ids=lambda message: message.name)
def test_declaration_equals_the_official_definition(message: OfficialMessage) -> None:
    spec = spec_of(our_class(message))
    assert (spec.name, spec.type, spec.key) == (message.name, TYPES.get(message.type, MessageType.DATA), message.key)
    assert (spec.versions, spec.flexible) == (message.versions, message.flexible)
    assert_fields_equal(message.name, spec, message.fields)


def assert_fields_equal(path: str, spec: StructSpec, official: list[OfficialField]) -> None:
    assert [field.name for field in spec.fields] == [snake_case(field.name) for field in official], path
    for ours, theirs in zip(spec.fields, official, strict=True):
        where = f"{path}.{theirs.name}"
        assert facts_of(ours) == facts_of_official(theirs), where
        if theirs.fields:
            assert isinstance(ours.element, type), where
            inner = spec_of(ours.element)
            assert (inner.name, inner.type) == (theirs.element, None), where
            assert_fields_equal(where, inner, theirs.fields)


def facts_of(field: FieldSpec) -> dict[str, Any]:
    element = spec_of(field.element).name if isinstance(field.element, type) else str(field.element)
    return {
        "type": {Kind.ARRAY: f"[]{element}", Kind.STRUCT: element}.get(field.kind, field.kind.value),
        "versions": field.versions,
        "nullable": field.nullable,
        "tag": field.tag,
        "tagged": field.tagged,
        "default": field.default,
        "ignorable": field.ignorable,
    }


def facts_of_official(field: OfficialField) -> dict[str, Any]:
    return {
        "type": field.type,
        "versions": field.versions,
        "nullable": field.nullable,
        "tag": field.tag,
        "tagged": field.tagged,
        "default": official_default(field),
        "ignorable": field.ignorable,
    }


def official_default(field: OfficialField) -> object:
    kind = Kind.ARRAY if field.is_array else Kind.STRUCT if field.fields else Kind(field.type)
    if field.default is None:
        return USUAL_DEFAULTS.get(kind, 0)
    if field.default == "null":
        return None
    return field.default == "true" if kind is Kind.BOOL else int(field.default)


@pytest.mark.parametrize("message", body_messages(), ids=lambda message: message.name)
def test_new_instance_holds_the_official_defaults(message: OfficialMessage) -> None:
    value = our_class(message)()
    for field in message.fields:
        default = official_default(field)
        held = getattr(value, snake_case(field.name))
        if default == ():
            default = [] if field.is_array else type(held)()
        assert held == default, field.name


def test_every_class_in_the_families_is_official() -> None:
    expected = {message.name for message in body_messages()}
    declared = set()
    for module in pkgutil.iter_modules(wire.messages.__path__):
        family = importlib.import_module(f"wire.messages.{module.name}")
        for cls in vars(family).values():
            if isinstance(cls, type) and hasattr(cls, "__wire__") and spec_of(cls).type is not None:
                assert cls.__name__ == spec_of(cls).name
                declared.add(cls.__name__)
    assert declared == expected


def test_every_family_and_message_is_described() -> None:
    for module in pkgutil.iter_modules(wire.messages.__path__):
        assert importlib.import_module(f"wire.messages.{module.name}").__doc__, module.name
    assert [message.name for message in body_messages() if not our_class(message).__doc__] == []


def test_catalog_serves_the_official_keys_and_versions() -> None:
    official = [(int(key), name, int(low), int(high)) for key, name, low, high in rows("api_keys.txt")]
    assert [(api.key, api.name, api.min_version, api.max_version) for api in APIS] == official
    assert len(API_BY_KEY) == len(API_BY_NAME) == len(APIS)


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_catalog_agrees_with_the_declarations(api: Any) -> None:
    for cls in (request_class(api.key), response_class(api.key)):
        spec = spec_of(cls)
        assert spec.key == api.key
        assert (spec.flexible.low if spec.flexible.high >= 0 else -1) == api.flexible_from
        for version in range(api.min_version, api.max_version + 1):
            assert version in spec.versions


def test_error_codes_are_the_official_ones() -> None:
    official = [(int(code), name, retriable == "true") for code, name, retriable in rows("errors.txt")]
    assert [(error.value, error.name, error.retriable) for error in ErrorCode] == official


def test_header_versions_follow_the_flexible_versions() -> None:
    messages = official_messages()
    for api in APIS:
        for suffix, version_of, flexible, plain in (
            ("Request", request_header_version, 2, 1),
            ("Response", response_header_version, 1, 0),
        ):
            message = messages[api.name + suffix]
            for version in message.version_numbers():
                expected = flexible if version in message.flexible else plain
                if (api.name, suffix) == ("ApiVersions", "Response"):
                    expected = 0
                assert version_of(api.key, version) == expected, (api.name, version)


def test_header_layouts_are_the_official_ones() -> None:
    """Frame writes headers by hand: hold its bytes against the official fields, in order, for both header versions."""
    request, response = official_messages()["RequestHeader"], official_messages()["ResponseHeader"]
    sizes = {"int16": 2, "int32": 4}
    values = {"RequestApiKey": 12, "CorrelationId": 7, "ClientId": "me"}
    heartbeat = {"RequestApiVersion": 3}, {"RequestApiVersion": 4}
    for header_version, more in zip((1, 2), heartbeat, strict=True):
        expected = b""
        for field in request.fields:
            value = (values | more)[field.name]
            if isinstance(value, int):
                expected += value.to_bytes(sizes[field.type], "big")
            else:
                assert (field.type, field.flexible) == ("string", "none")
                expected += len(value).to_bytes(2, "big") + value.encode()
        expected += b"\0" * (header_version in request.flexible)
        header = RequestHeader(12, more["RequestApiVersion"], 7, "me")
        assert encode_request(header, request_class(12)())[4:].startswith(expected)
    assert [(field.name, field.type) for field in response.fields] == [("CorrelationId", "int32")]
    for version, head in ((3, b"\0\0\0\7"), (4, b"\0\0\0\7" + b"\0")):
        frame = b"".join(bytes(chunk) for chunk in encode_response(12, version, 7, response_class(12)()))  # type: ignore[call-overload]
        body = 6 + (version == 4)
        assert frame == (len(head) + body).to_bytes(4, "big") + head + bytes(body)
