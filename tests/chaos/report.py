"""The figures of an experiment, each with the bound that it has to keep."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured value and its bound, in words of the experiment's pass figure."""

    name: str
    value: float | str
    bound: str
    holds: bool


@dataclass
class Report:
    """The outcome of one experiment."""

    id: str
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    def at_most(self, name: str, value: float, bound: float) -> None:
        self.figures.append(Figure(name, round(value, 3), f"at most {bound:g}", value <= bound))

    def at_least(self, name: str, value: float, bound: float) -> None:
        self.figures.append(Figure(name, round(value, 3), f"at least {bound:g}", value >= bound))

    def equals(self, name: str, value: object, expected: object) -> None:
        self.figures.append(Figure(name, str(value), f"exactly {expected}", value == expected))

    def not_run(self, reason: str) -> None:
        """Note that this machine cannot show it."""
        self.figures.append(Figure(reason, "not run", "nothing is shown", holds=True))

    @property
    def holds(self) -> bool:
        return not self.error and bool(self.figures) and all(figure.holds for figure in self.figures)

    def lines(self) -> list[str]:
        """The figures as lines of a table."""
        rows = [
            f"  {'ok  ' if figure.holds else 'FAIL'}  {figure.name}: {figure.value} ({figure.bound})"
            for figure in self.figures
        ]
        return rows + [f"  FAIL  {self.error}"] * bool(self.error)


def write(path: Path, reports: list[Report]) -> None:
    """Write the reports as JSON, and beside it as a table in Markdown."""
    documents = [
        {
            "experiment": report.id, "holds": report.holds, "seconds": round(report.seconds, 1), "error": report.error,
            "figures": [vars(figure) for figure in report.figures],
        }
        for report in reports
    ]  # fmt: skip
    path.write_text(
        json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "reports": documents}, indent=1)
    )
    rows = ["| experiment | holds | measured |", "|---|---|---|"]
    for report in reports:
        figures = "; ".join(f"{one.name}: {one.value} ({one.bound})" for one in report.figures)
        rows.append(f"| {report.id} | {'yes' if report.holds else 'no'} | {report.error or figures} |")
    path.with_suffix(".md").write_text("\n".join([*rows, ""]))
