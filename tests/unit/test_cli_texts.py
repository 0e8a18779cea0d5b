"""What may reach a terminal, durations and names."""

import json

import pytest

from api.cli.texts import NAME, duration, is_name, printable, printable_json, seconds_of
from specs.model import DNS_LABEL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ö 漢", "plain ö 漢"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x9b2Jb", "a\\x9b2Jb"),
        ("a\r\nb\u202e", "a\\r\\nb\\u202e"),
    ],
)
def test_control_characters_never_reach_the_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_json_keeps_its_value_when_control_characters_are_escaped() -> None:
    value = {"message": "a\x1b\x9b\u202e\nb"}
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert text.isascii()


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), (" 0 ", 0)]
)
def test_a_duration_is_read(text: str, expected: float) -> None:
    assert seconds_of(text) == expected


@pytest.mark.parametrize("text", ["", "10x", "-1s", "m", "1h30m", "nan", "inf", "1e3", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0s"), (9.9, "9s"), (60, "1m"), (252, "4m12s"), (11_100, "3h5m"), (187_200, "2d4h")],
)
def test_a_length_of_time_has_at_most_two_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_names_are_the_ones_that_the_model_takes() -> None:
    assert f"^{NAME.pattern}$" == DNS_LABEL


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "A", "a\n", "-a", "a" * 64, None, 7])
def test_what_can_not_be_a_name_is_none(text: object) -> None:
    assert not is_name(text)
