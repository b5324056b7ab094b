"""Every row of the attack table has its test, or a reason in docs/security.md."""

import re

from todo_service.config.settings import ROOT

ALL = {
    "A": 21, "J": 17, "R": 8, "S": 4, "K": 5, "Z": 9, "V": 24, "H": 14, "C": 5, "L": 8, "G": 9,
}  # fmt: skip
RANGE = re.compile(r"([A-Z])(\d+)(?: to [A-Z](\d+))?")


def rows(text: str) -> set[str]:
    """The rows in a text such as `A1 to A3, L1`."""
    found = set()
    for letter, first, last in RANGE.findall(text):
        found |= {f"{letter}{number}" for number in range(int(first), int(last or first) + 1)}
    return found


def with_tests() -> set[str]:
    """The rows in the names of the tests, such as `test_a1_…`, `test_a18_to_a20_…` and `test_g1_and_g2_…`."""
    found = set()
    for path in (ROOT / "tests/attacks").glob("test_*.py"):
        for name in re.findall(r"def test_((?:[a-z]\d+_(?:to_|and_)?)+)", path.read_text()):
            found |= rows(name.replace("_", " ").upper().replace(" TO ", " to "))
    return found


def test_each_row_is_tested_or_has_a_reason() -> None:
    section = (ROOT / "docs/security.md").read_text().partition("## The attack table")[2]
    lines = re.findall(r"^\| ([A-Z]\d.*?) \| (.+) \|$", section, re.MULTILINE)
    claimed = set().union(*(rows(names) for names, why in lines if why == "tested"))
    excused = set().union(*(rows(names) for names, why in lines if why != "tested"))
    everything = {f"{letter}{number}" for letter, last in ALL.items() for number in range(1, last + 1)}
    assert claimed | excused == everything
    assert claimed - with_tests() - excused == set()
