r"""The language of `consume --format`, and that `produce --format` reads what it prints."""

import itertools
import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.cli.format import FormatError, compile_format, tokens
from pykbroker.cli.input_format import InputError, InputRecord, compile_input, parse_json, with_key
from pykbroker.cli.output import record_json


class Record(NamedTuple):
    topic: str = "topic"
    partition: int = 3
    offset: int = 12
    timestamp: int = 1_700_000_000_123
    key: bytes | None = b"key"
    value: bytes | None = b"value"
    headers: tuple[tuple[str, bytes | None], ...] = (("a", b"1"), ("b", None))
    leader_epoch: int = 7
    producer_id: int = 1000
    producer_epoch: int = 2
    attributes: int = 4
    log_start_offset: int = 5
    last_stable_offset: int = 90
    high_watermark: int = 100


NULLS = Record(key=None, value=None, headers=())


def printed(text: str, record: Record = Record(), number: int = 0) -> bytes:  # noqa: B008
    return compile_format(text)(record, number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%t/%p/%o %k %v", b"topic/3/12 key value"),
        ("%s", b"value"),
        ("%T|%d", b"1700000000123|1700000000123"),
        ("%K %V %S %H", b"3 5 5 2"),
        ("%R", b"\0\0\0\5"),
        ("%h", b"a=1,b="),
        ("%h{<%k:%v>}", b"<a:1><b:>"),
        ("%h{%K%{%V%}%v{hex}}", b"1{1}311{-1}"),
        ("%e %x %y %a", b"7 1000 2 4"),
        ("%[ %| %]", b"5 90 100"),
        ("%% %{ %}", b"% { }"),
        (r"\n\t\r\\\x00\xfF", b"\n\t\r\\\x00\xff"),
        ("%v{hex} %k{base64} %v{json}", b'76616c7565 a2V5 "value"'),
        ("%o{ascii} %o{hex64} %o{hex4} %o{hex8}", b"12 000000000000000c c 0c"),
        ("%o{big16}%o{little16}%o{big8}%o{byte}", b"\0\x0c\x0c\0\x0c\x0c"),
        ("%d{strftime[%Y-%m-%d %H:%M:%S]}", b"2023-11-14 22:13:20"),
        ("é%t", "étopic".encode()),
        ("", b""),
    ],
)
def test_record_is_printed_as_the_format_says(text: str, expected: bytes) -> None:
    assert printed(text) == expected


def test_null_is_printed_as_nothing_with_a_size_of_minus_one() -> None:
    assert printed("%k,%v,%K,%V,%S,%h,%v{json}", NULLS) == b",,-1,-1,-1,,null"
    assert printed("%R", NULLS) == b"\xff\xff\xff\xff"


def test_number_counts_the_records_before() -> None:
    assert printed("%i", number=41) == b"41"


def test_number_is_cut_to_its_size() -> None:
    assert printed("%V{byte}%V{big16}", Record(value=bytes(256))) == b"\0\1\0"
    assert printed("%x{big16}", Record(producer_id=-1)) == b"\xff\xff"


@pytest.mark.parametrize("timestamp", [-1, 10**18])
def test_time_that_has_no_date_is_a_number(timestamp: int) -> None:
    assert printed("%d{strftime[%Y]}", Record(timestamp=timestamp)) == b"%d" % timestamp


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%", "at the end"),
        ("%z", "%z is no field"),
        ("%v{", "no brace closes"),
        ("%v{nope}", "{nope} is nothing for text"),
        ("%o{hex}", "{hex} is nothing for numbers"),
        ("%o{big4}", "{big4}"),
        ("%h{%p}", "%p is no field of a header"),
        (r"\q", "is no escape"),
        ("\\", "is no escape"),
        (r"\x1", "is no escape"),
    ],
)
def test_format_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(FormatError) as raised:
        printed(text)
    assert words in str(raised.value)


@given(st.text())
def test_any_text_is_a_format_or_refused(text: str) -> None:
    try:
        printed(text)
    except FormatError:
        return


@given(st.text().filter(lambda text: "%" not in text and "\\" not in text))
def test_text_without_fields_is_printed_as_it_is(text: str) -> None:
    assert printed(text) == text.encode("utf-8", "surrogatepass")


@given(st.text(alphabet="%{}\\ntkvx0f"))
def test_no_literal_stands_beside_another(text: str) -> None:
    try:
        found = tokens(text)
    except FormatError:
        return
    assert not any(not one.field and not other.field for one, other in itertools.pairwise(found))


# Reading


WORDS = st.binary(max_size=8).filter(lambda data: b"\t" not in data and b"\n" not in data)


@given(WORDS, WORDS, st.integers(0, 100), st.integers(0, 2**45))
def test_what_was_printed_is_read_again(key: bytes, value: bytes, partition: int, timestamp: int) -> None:
    text = r"%p\t%T\t%k\t%v\n"
    end, parse = compile_input(text)
    data = printed(text, Record(key=key, value=value, partition=partition, timestamp=timestamp))
    assert data.endswith(end)
    assert parse(data[: -len(end)]) == InputRecord(value, key, None, partition, timestamp)


@given(st.binary(), st.binary(), st.sampled_from(["hex", "base64"]))
def test_any_bytes_are_read_again_by_way_of_hex_and_base64(key: bytes, value: bytes, modifier: str) -> None:
    text = f"%k{{{modifier}}} %v{{{modifier}}}\n"
    end, parse = compile_input(text)
    record = parse(printed(text, Record(key=key, value=value))[: -len(end)])
    assert (record.key, record.value) == (key, value)


HEADERS = st.lists(st.tuples(st.text(), st.none() | st.binary(max_size=4)), max_size=3).map(tuple)


@given(st.none() | st.binary(), st.none() | st.binary(), HEADERS)
def test_json_is_read_again(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    line = json.dumps(record_json(Record(key=key, value=value, headers=headers))).encode()
    assert parse_json(line) == InputRecord(value, key, "topic", 3, 1_700_000_000_123, headers)


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("%v", b"a b", InputRecord(b"a b")),
        ("%k:%v", b"a:b:c", InputRecord(b"b:c", b"a")),
        ("%k::%v", b"a:b::c", InputRecord(b"c", b"a:b")),
        ("%t/%p/%o %v", b"t/1/77 x", InputRecord(b"x", None, "t", 1)),
        ("%h %v", b"a=1,b=,c x", InputRecord(b"x", headers=(("a", b"1"), ("b", b""), ("c", None)))),
        ("<%k>%v;", b"<k>v\nw", InputRecord(b"v\nw", b"k")),
    ],
)
def test_record_is_read_as_the_format_says(text: str, data: bytes, expected: InputRecord) -> None:
    assert compile_input(text)[1](data) == expected


@pytest.mark.parametrize(("text", "end"), [("%v", b"\n"), (r"%v\n", b"\n"), ("%v;;", b";;"), (r"%k %v\x00", b"\0")])
def test_record_ends_as_the_format_does(text: str, end: bytes) -> None:
    assert compile_input(text)[0] == end


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%k%v", "nothing tells where %k ends"),
        ("%v %S", "%S cannot be read"),
        ("%v{json}", "%v{json} cannot be read"),
        ("%p", "needs a key or a value"),
        ("%p{hex} %v", "%p{hex} cannot be read"),
    ],
)
def test_format_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(FormatError) as raised:
        compile_input(text)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("text", "data"),
    [("%k:%v", b"no colon"), ("%p %v", b"x y"), ("%v{hex}", b"xyz"), ("%v{base64}", b"?"), ("%t %v", b"\xff x")],
)
def test_record_that_is_not_in_the_format_is_an_error(text: str, data: bytes) -> None:
    with pytest.raises(InputError):
        compile_input(text)[1](data)


@pytest.mark.parametrize("data", [b"", b"1", b"{", b'{"value_base64": "?"}', b'{"headers": [{}]}', b'{"headers": 1}'])
def test_json_that_is_no_record_is_an_error(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_json(data)


def test_line_without_the_separator_has_no_key() -> None:
    end, parse = with_key(r"\t")
    assert end == b"\n"
    assert parse(b"k\tv\tw") == InputRecord(b"v\tw", b"k")
    assert parse(b"only") == InputRecord(b"only")
    for nothing in ("", "%k"):
        with pytest.raises(FormatError):
            with_key(nothing)
