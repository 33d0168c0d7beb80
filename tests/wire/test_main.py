import pytest

from wire.__main__ import main


def test_codec_prints_the_source_of_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codec", "fetch", "13"]) == 0
    out = capsys.readouterr().out
    assert "_new(FetchRequest)" in out
    compile(out, "shown", "exec")


def test_codec_with_response_prints_the_source_of_the_response(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codec", "Fetch", "13", "--response"]) == 0
    assert "_new(FetchResponse)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["codec", "Fetsch", "13"], "no API is called Fetsch"),
        (["codec", "Fetch", "99"], "FetchRequest has no version 99"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_arguments_exit_with_one_complaint(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
