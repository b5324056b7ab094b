"""CSV: what a spreadsheet could take for a formula, and how a cell comes back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo_service.wire.csv_files import guarded, unguarded

GUARDED = {
    "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\t=": "'\t'=", "\r": "'\r", "\n": "'\n", "  =1": "'  =1",
    "'=1": "''=1", "' '=": "'' '=", "\u200b=1": "'\u200b=1", "\uff1d1": "'\uff1d1", "\uff0b": "'\uff0b",
    "a;=1": "a;'=1", "a\n=1": "a\n'=1", "a\t'-1": "a\t''-1", "a; @x;b": "a;' @x;b", "a\r\n=1": "a\r'\n'=1",
}  # fmt: skip
HARMLESS = ["", "a", "'", "''", "' a", "1=2", '"=1"', "'s Hertogenbosch", "a;b", "a\nb", "a;'b"]
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@pytest.mark.parametrize("text", GUARDED)
def test_a_formula_gets_an_apostrophe_wherever_a_cell_may_begin(text: str) -> None:
    assert guarded(text) == GUARDED[text]
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert guarded(text) == unguarded(guarded(text)) == text


@given(st.text(st.sampled_from("'=+-@; \t\r\n\uff1da\u200b")) | st.text())
def test_what_is_guarded_comes_back_and_begins_no_formula(text: str) -> None:
    assert unguarded(guarded(text)) == text
    for cell in re.split("[;\t\r\n]", guarded(text)):
        assert not cell.lstrip(" \u200b").startswith(FORMULA)


@pytest.mark.parametrize("text", ["\t" * 200_000, "\n" * 200_000, ";" * 200_000, " " * 200_000, ("; " * 100_000)])
def test_a_long_text_takes_no_time(text: str) -> None:
    """A regular expression that looked far ahead at each place would take minutes."""
    assert unguarded(guarded(text)) == text
