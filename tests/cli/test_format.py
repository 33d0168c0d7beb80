r"""The language of `consume --format`."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.cli.format import Shown, compile_format
from pykbroker.cli.format_syntax import FormatError, tokens


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


def printed(text: str, record: Record = Record(), number: int = 0, shown: Shown | None = None) -> bytes:  # noqa: B008
    return compile_format(text, shown)(record, number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%t/%p/%o %k %v", b"topic/3/12 key value"),
        ("%s", b"value"),
        ("%T|%d", b"1700000000123|1700000000123"),
        ("%K %V %S %H", b"3 5 5 2"),
        ("%R", b"\0\0\0\5"),
        ("%h", b"a=1,b=NULL"),
        ("%h{<%k:%v>}", b"<a:1><b:>"),
        ("%h{%K%{%V%}%v{hex}}", b"1{1}311{-1}"),
        ("%h{%t:%p:%i:%k }", b"topic:3:1:a topic:3:1:b "),
        ("%h{{%k}}", b"{a}{b}"),
        ("%h{%v{unpack#s#} }", b"1  "),
        ("%e %x %y %a", b"7 1000 2 4"),
        ("%[ %| %]", b"5 90 100"),
        ("%% %{ %}", b"% { }"),
        (r"\n\t\r\\\x00\xfF", b"\n\t\r\\\x00\xff"),
        (r"\0|\033[0m|\27|\041|\q\%\"\x1", b'\0|\x1b[0m|\x1b|!|q%"\x01'),
        (
            "%v{hex} %k{base64} %v{base64} %v{base64raw} %v{json} %v{}",
            b'76616c7565 a2V5 dmFsdWU= dmFsdWU "value" value',
        ),
        ("%o{ascii} %o{number} %o{hex64} %o{hex4} %o{hex8} %o{hex}", b"12 12 000000000000000c c 0c c"),
        ("%o{bool} %K{bool}", b"true true"),
        ("%o{big16}%o{little16}%o{big8}%o{byte}", b"\0\x0c\x0c\0\x0c\x0c"),
        ("%d{strftime[%Y-%m-%d %H:%M:%S]}", b"2023-11-14 22:13:20"),
        ("%d{strftime### [%F] ###}", b" [2023-11-14] "),
        ("%d{strftime{{%F}}} %d{strftime(%H)} %T{strftime!%H!}", b"2023-11-14 22 22"),
        ("%d{go[2006-01-02T15:04:05Z07:00]}", b"2023-11-14T22:13:20Z"),
        ("%d{go##Mon, 2 Jan 06 03:04:05.000 PM -0700##}", b"Tue, 14 Nov 23 10:13:20.123 PM +0000"),
        ("é%t", "étopic".encode()),
        ("", b""),
    ],
)
def test_record_is_printed_as_the_format_says(text: str, expected: bytes) -> None:
    assert printed(text) == expected


def test_null_is_printed_as_nothing_with_a_size_of_minus_one() -> None:
    assert printed("%k,%v,%v{hex},%K,%V,%S,%h,%v{json}", NULLS) == b",,,-1,-1,-1,,null"
    assert printed("%R", NULLS) == b"\xff\xff\xff\xff"


def test_null_is_printed_by_its_name_on_request() -> None:
    shown = Shown.of(names_null=True)
    assert printed("%k,%v,%v{hex},%K,%v{json}", NULLS, shown=shown) == b"NULL,NULL,NULL,-1,null"
    assert printed("%k,%v", Record(key=b"", value=b"v"), shown=shown) == b",v"


def test_number_counts_the_records_with_this_one() -> None:
    assert printed("%i", number=0) == b"1"
    assert printed("%i{hex8}", number=41) == b"2a"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (0, b"none 0 0 0 false"),
        (0b11_1011, b"lz4 3 1 1 true"),
        (0b10100, b"zstd 4 0 1 false"),
        (7, b"unknown 7 0 0 false"),
    ],
)
def test_attributes_are_printed_by_name(attributes: int, expected: bytes) -> None:
    text = "%a{compression} %a{compression;number} %a{timestamp-type} %a{transactional-bit} %a{control-bit;bool}"
    assert printed(text, Record(attributes=attributes)) == expected


@pytest.mark.parametrize(
    ("layout", "data", "expected"),
    [
        ("b", b"\xff", b"-1"),
        ("B", b"\xff", b"255"),
        ("hH", b"\xff\xff\x01\x00", b"-11"),
        (">hH", b"\xff\xfe\x01\x00", b"-2256"),
        ("<i>I", b"\1\0\0\0\0\0\0\2", b"12"),
        (">q Q", b"\xff" * 8 + b"\0" * 7 + b"\7", b"-1 7"),
        ("Bxc.s$", b"\1abrest", b"1abrest"),
        ("B", b"\1more", b"1"),
        ("B$", b"\1more", b"1%!$(4 bytes more)"),
        ("Bi", b"\1\2", b"1%!i(1 of 4 bytes)"),
        ("Bc", b"\1", b"1%!c(0 of 1 bytes)"),
        ("", b"x", b""),
    ],
)
def test_bytes_are_unpacked_as_the_letters_say(layout: str, data: bytes, expected: bytes) -> None:
    assert printed(f"%v{{unpack[{layout}]}}", Record(value=data)) == expected
    assert printed(f"%k{{unpack{{{{{layout}}}}}}}", Record(key=data)) == expected


def test_layouts_of_kcat_begin_as_big_endian_and_leave_modifiers_alone() -> None:
    record = Record(key=b"\0\2", value=b"\0\0\0\1\3")
    assert printed("%k %v", record, shown=Shown.of(["key=h", "value=iB"])) == b"2 13"
    assert printed("%k %s %v{hex}", record, shown=Shown.of(["<h"])) == b"512 0 0000000103"
    for wrong in ("nope=h", "key=", "key=sh", "z"):
        with pytest.raises(FormatError):
            Shown.of([wrong])


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("2006-01-02", "2023-02-03"),
        ("06 1 2 3 4 5", "23 2 3 4 5 6"),
        ("Monday January Mon Jan", "Friday February Fri Feb"),
        ("Months Januarys", "Months Februarys"),
        ("_2 __2 002", " 3  34 034"),
        ("3PM 03pm 15h", "4AM 04am 04h"),
        ("05.000 05,000000", "06.070 06,070000"),
        ("05.999 05.99 05.9", "06.07 06.07 06"),
        ("Z0700 Z07:00 -0700 -07:00 -07 MST", "Z Z +0000 +00:00 +00 UTC"),
        ("nothing", "nothing"),
    ],
)
def test_time_is_printed_as_go_would(layout: str, expected: str) -> None:
    """2023-02-03T04:05:06.070Z, a Friday."""
    assert printed(f"%d{{go#{layout}#}}", Record(timestamp=1_675_397_106_070)) == expected.encode()


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
        ("%o{nope}", "{nope} is nothing for numbers"),
        ("%v{hex[x]}", "{hex} is nothing for text"),
        ("%v{unpack}", "{unpack} is nothing for text"),
        ("%v{unpack[s]", "no brace closes"),
        ("%v{unpack[[s]}", "no ]] closes [["),
        ("%v{unpack[z]}", "unpack: 'z'"),
        ("%v{unpack[si]}", "unpack: 'si'"),
        ("%d{strftime}", "{strftime} is nothing"),
        ("%d{strftime[\udcff]}", "is no text"),
        ("%a{nope}", "{nope}"),
        ("%a{compression;nope}", "'nope' is nothing for numbers"),
        ("%h{%k", "no brace closes"),
        ("%o{big4}", "{big4}"),
        ("%h{%h}", "%h is no field of a header"),
        (r"\xg", "is no escape"),
        (r"\x", "is no escape"),
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
