r"""The language of `produce --format`, which reads what `consume --format` prints; and records as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.cli.format_syntax import FormatError
from pykbroker.cli.input_fields import InputError, InputRecord
from pykbroker.cli.input_format import Input, compile_input, keyed, separated
from pykbroker.cli.input_json import parse_json
from pykbroker.cli.output import record_json
from tests.cli.test_format import Record, printed


def read(text: str, data: bytes) -> list[InputRecord]:
    return list(compile_input(text).records(data, is_last=True))


def read_byte_by_byte(text: str, data: bytes) -> list[InputRecord]:
    reading = compile_input(text)
    found = [record for byte in data for record in reading.records(bytes((byte,)))]
    return found + list(reading.records(b"", is_last=True))


WORDS = st.binary(max_size=8).filter(lambda data: b"\t" not in data and b"\n" not in data)


@given(WORDS, WORDS, st.integers(0, 100), st.integers(0, 2**45))
def test_what_was_printed_is_read_again(key: bytes, value: bytes, partition: int, timestamp: int) -> None:
    text = r"%p\t%T\t%k\t%v\n"
    data = printed(text, Record(key=key, value=value, partition=partition, timestamp=timestamp))
    assert read(text, data) == [InputRecord(value, key, None, partition, timestamp)]


@given(st.binary(), st.binary(), st.sampled_from(["hex", "base64", "base64raw"]))
def test_any_bytes_are_read_again_by_way_of_hex_and_base64(key: bytes, value: bytes, modifier: str) -> None:
    text = f"%k{{{modifier}}} %v{{{modifier}}}\n"
    (record,) = read(text, printed(text, Record(key=key, value=value)))
    assert (record.key, record.value) == (key, value)


HEADERS = st.lists(st.tuples(st.text(), st.none() | st.binary(max_size=4)), max_size=3).map(tuple)


@given(st.none() | st.binary(), st.none() | st.binary(), HEADERS)
def test_json_is_read_again(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    line = json.dumps(record_json(Record(key=key, value=value, headers=headers))).encode()
    assert parse_json(line) == InputRecord(value, key, "topic", 3, 1_700_000_000_123, headers)


@given(
    st.lists(st.tuples(st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=300), HEADERS), max_size=4),
    st.sampled_from(["{big32}", "{little64}", "{hex32}", " "]),
)
def test_anything_is_read_again_where_sizes_come_first(
    records: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]], layout: str
) -> None:
    """Null, too: its size is -1."""
    size = layout.strip()
    behind = "" if size else " "
    text = f"%K{size}{behind}%k%V{size}{behind}%v%H{{big16}}%h{{%K{{big32}}%k%V{{big32}}%v}}"
    data = b"".join(printed(text, Record(key=key, value=value, headers=headers)) for key, value, headers in records)
    expected = [InputRecord(value, key, headers=headers) for key, value, headers in records]
    assert read(text, data) == expected
    assert read_byte_by_byte(text, data) == expected


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("%v", b"a b", [InputRecord(b"a b")]),
        ("%v", b"a\nb\n", [InputRecord(b"a"), InputRecord(b"b")]),
        (r"%v\n", b"a\n\n", [InputRecord(b"a"), InputRecord(b"")]),
        ("%v;;", b"a;b;;c", [InputRecord(b"a;b"), InputRecord(b"c")]),
        (r"%k %v\x00", b"a b\nc\0", [InputRecord(b"b\nc", b"a")]),
        ("%k:%v", b"a:b:c", [InputRecord(b"b:c", b"a")]),
        ("%k::%v", b"a:b::c", [InputRecord(b"c", b"a:b")]),
        ("%t/%p/%o %v", b"t/1/77 x", [InputRecord(b"x", None, "t", 1)]),
        ("%p%e %v", b"1-2 x", [InputRecord(b"x", partition=1)]),
        ("%T %v", b"-1 x", [InputRecord(b"x")]),
        ("%h %v", b"a=1,b=,c x", [InputRecord(b"x", headers=(("a", b"1"), ("b", b""), ("c", None)))]),
        ("<%k>%v;", b"<k>v\nw", [InputRecord(b"v\nw", b"k")]),
        (
            "%T{2}%K{3}%V{4}%t%k%v",
            b"ttkkkvvvvuuKKKVVVV",
            [InputRecord(b"vvvv", b"kkk", "tt"), InputRecord(b"VVVV", b"KKK", "uu")],
        ),
        ("%K{big16} foo %k", b"\0\2 foo ab\0\0 foo ", [InputRecord(None, b"ab"), InputRecord(None, b"")]),
        ("%H{2}%h{ %k=%v }%v", b" a=1  b= x\n", [InputRecord(b"x", headers=(("a", b"1"), ("b", b"")))]),
        (r"%v{re#..?#}\n", b"ab\nc\n", [InputRecord(b"ab"), InputRecord(b"c")]),
        (
            "%k %v{json}",
            b'a {"b": [1, "} \\""]}\nc 1.0\n',
            [InputRecord(b'{"b":[1,"} \\""]}', b"a"), InputRecord(b"1.0", b"c")],
        ),
        ("%p{hex8}%T{little64}%V{byte}%v", b"0a\1\0\0\0\0\0\0\0\1x", [InputRecord(b"x", partition=10, timestamp=1)]),
        ("%o{bool}%e{hex4} %v", b"truef x", [InputRecord(b"x")]),
        ("%V %v", b"3 a\nb", [InputRecord(b"a\nb")]),
    ],
)
def test_record_is_read_as_the_format_says(text: str, data: bytes, expected: list[InputRecord]) -> None:
    assert read(text, data) == expected
    assert read_byte_by_byte(text, data) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%k%v", "nothing tells where %k ends"),
        ("%v %R", "%R cannot be read"),
        ("%v{nope}", "%v{nope} cannot be read"),
        ("%v{hex[x]}", "cannot be read"),
        ("%v{re[(]}", "re: "),
        ("%V%v{re[x]}", "%v{re} cannot be read"),
        ("%p", "needs a key or a value"),
        ("", "needs a key or a value"),
        ("%p{nope} %v", "%p{nope} cannot be read"),
        ("%d{strftime[%F]} %v", "%d{strftime} cannot be read"),
        ("%V%V%v", "told twice"),
        ("%v %h{%k=%v }", "%H before %h{...}"),
        ("%H%h{%p}%v", "a header has"),
    ],
)
def test_format_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(FormatError) as raised:
        compile_input(text)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("%k:%v", b"no colon"),
        ("%k:%v\n", b"a\nb:c\n"),
        ("%p %v", b"x y"),
        ("%p %v", b"-1 y"),
        ("%p %v", b"2147483648 y"),
        ("%p %v", b"1" * 5000 + b" y"),
        ("%T %v", b"9223372036854775808 y"),
        ("%T %v", b"-2 y"),
        ("%k %v %p", b"a b c 5"),  # the value ends with the first space
        ("%v{hex}", b"xyz"),
        ("%v{base64}", b"?"),
        ("%t %v", b"\xff x"),
        ("%V{big32}%v", b"\0\0\0\5x"),
        ("%V{big32}%v", b"\xff\xff\xff\xfex"),
        ("%V{big32}%v", b"\x7f\xff\xff\xffx"),
        ("%V{hex8}%v", b"zzx"),
        ("%o{bool}%v", b"nope"),
        ("%H{big32}%h{%k=%v}%V{1}%v", b"\xff\xff\xff\xff"),
        ("%H{big32}%h{%k=%v}%V{1}%v", b"\x0f\xff\xff\xff"),
        ("%v{json}", b"[1"),
        ("%v{json}", b'"x'),
        ("%v{json}", b"nope"),
        ("%v{json}", b"]"),
        ("%k{re[a+]}%v", b"b"),
        ("%k{re[a*]}", b"b"),
        ("%V{0}%v", b"b"),
    ],
)
def test_record_that_is_not_in_the_format_is_an_error(text: str, data: bytes) -> None:
    with pytest.raises(InputError):
        read(text.encode().decode("unicode_escape") if "\\" in text else text, data)


def test_record_that_does_not_fit_is_found_out_in_linear_time() -> None:
    """With a regular expression this took minutes."""
    with pytest.raises(InputError):
        read("%k %v %h %p", b"word " * 20_000)


def test_record_without_an_end_is_not_kept_for_ever() -> None:
    reading = compile_input("%v")
    for _ in range(16):
        assert list(reading.records(bytes(1024 * 1024))) == []
    with pytest.raises(InputError, match="no end after"):
        list(reading.records(b"x"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"value_base64": "?"}',
        b'{"value_base64": 1}',
        b'{"headers": [{}]}',
        b'{"headers": [1]}',
        b'{"headers": 1}',
        b'{"headers": [{"name": 1}]}',
        b'{"partition": "x"}',
        b'{"partition": true}',
        b'{"partition": -1}',
        b'{"partition": 2147483648}',
        b'{"timestamp": "now"}',
        b'{"timestamp": 1e20}',
        b'{"timestamp": 9223372036854775808}',
        b'{"topic": 1}',
        b'{"topic": "\\ud800"}',
        b'{"value": "\\ud800"}',
    ],
)
def test_json_that_is_no_record_is_an_error(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_json(data)


def test_line_without_the_separator_has_no_key() -> None:
    def records(reading: Input, data: bytes) -> list[InputRecord]:
        return list(reading.records(data, is_last=True))

    assert records(keyed(r"\t"), b"k\tv\tw\nonly") == [InputRecord(b"v\tw", b"k"), InputRecord(b"only")]
    assert records(keyed(":", b";"), b"k:v;\n") == [InputRecord(b"v", b"k"), InputRecord(b"\n")]
    assert records(separated(b"\n", InputRecord), b"k:v\n") == [InputRecord(b"k:v")]
    for nothing in ("", "%k"):
        with pytest.raises(FormatError):
            keyed(nothing)
