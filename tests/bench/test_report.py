"""What the benchmark prints is what it has measured, and nothing is quoted of a server with errors."""

import json
from pathlib import Path
from xml.etree import ElementTree

from tests.bench.peers import report
from tests.bench.peers.report import Measurement, Rounds


def measured(*costs: float, errors: int = 0) -> list[Measurement]:
    return [Measurement(cost * 0.75, cost * 0.25, 1000, 1, 2, 3, 100, errors) for cost in costs]


ROUNDS: Rounds = {
    "product": measured(1, 2, 2),
    "floor": measured(0.5, 0.5, 1),
    "usual": measured(10, 10, 30),
    "tuned": measured(2, 2, 2, errors=1),
}


def test_ratios_are_of_the_rounds() -> None:
    assert report.ratio(ROUNDS, "product", "floor") == (2, 2, 4)
    assert report.ratio(ROUNDS, "usual", "product") == (10, 5, 15)


def test_no_ratio_is_quoted_of_a_server_with_errors() -> None:
    assert report.ratios(ROUNDS)["tuned / product"] is None
    assert any("tuned / product" in line and "errors" in line for line in report.lines("a list", ROUNDS))


def test_the_files_have_every_scenario(tmp_path: Path) -> None:
    results = {"list20": ROUNDS}
    report.write_json(tmp_path / "peers.json", results)
    document = json.loads((tmp_path / "peers.json").read_text())
    assert document["list20"]["ratios"]["usual / product"] == [10, 5, 15]
    assert len(document["list20"]["rounds"]["floor"]) == 3
    report.write_chart(tmp_path / "peers.svg", {"list20": "list of 20 & more"}, results)
    texts = [element.text for element in ElementTree.parse(tmp_path / "peers.svg").iter() if element.text]  # noqa: S314
    assert "list of 20 & more" in texts
    assert "10.0 ×" in texts
