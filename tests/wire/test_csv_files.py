"""CSV: what a spreadsheet could take for a formula, and how a cell comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo_service.wire.csv_files import guarded, unguarded

DANGEROUS = [
    "=1",
    "+1",
    "-1",
    "@x",
    "\t=",
    "\r",
    "\n",
    "  =1",
    "'=1",
    "' '=",
    "\u200b=1",
    "\uff1d1",
    "\uff0b",
    "\uff0d",
    "\uff20",
]
HARMLESS = ["", "a", "'", "''", "' a", "1=2", "a\n=1", '"=1"', "'s Hertogenbosch"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_formula_gets_one_apostrophe(text: str) -> None:
    assert guarded(text) == "'" + text
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert guarded(text) == unguarded(text) == text


@given(st.text(st.sampled_from("'=+-@ \t\r\n\uff1da\u200b")) | st.text())
def test_what_is_guarded_comes_back_and_begins_no_formula(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
