"""The results as a table, as JSON, and as a chart."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """One server under one load.

    Attributes:
        server_ms: Processor milliseconds of the server for a request.
        database_ms: The same of PostgreSQL.
        rate: Answers a second.
    """

    server_ms: float
    database_ms: float
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    answers: int
    errors: int

    @property
    def cost(self) -> float:
        """Processor milliseconds of server and PostgreSQL for a request."""
        return self.server_ms + self.database_ms


LINE = (
    "  {name:10} server {server_ms:7.3f}  PostgreSQL {database_ms:7.3f} ms/request   {rate:7.0f}/s   "
    "p50 {p50_ms:6.1f}  p95 {p95_ms:6.1f}  p99 {p99_ms:6.1f} ms   errors {errors:.0f}"
)

Rounds = Mapping[str, Sequence[Measurement]]  # of each server
Ratio = tuple[float, float, float]  # median, minimum, maximum


def ratio(rounds: Rounds, over: str, under: str) -> Ratio | None:
    """Return cost of `over` by cost of `under`, round by round; None if either server had errors."""
    if over not in rounds or under not in rounds or any(m.errors for m in [*rounds[over], *rounds[under]]):
        return None
    ratios = [a.cost / b.cost for a, b in zip(rounds[over], rounds[under], strict=True) if b.cost]
    return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def ratios(rounds: Rounds) -> dict[str, Ratio | None]:
    """Return the ratios of a scenario: the product by the floor, and each peer by the product."""
    pairs = [("product", "floor"), ("usual", "product"), ("tuned", "product"), ("1,000,000", "100,000")]
    return {f"{over} / {under}": ratio(rounds, over, under) for over, under in pairs if {over, under} <= rounds.keys()}


def lines(title: str, rounds: Rounds) -> list[str]:
    """Return the lines of a scenario: each server's medians, then the ratios."""
    text = [f"== {title}"]
    for name, measured in rounds.items():
        middle = {key: statistics.median(asdict(m)[key] for m in measured) for key in asdict(measured[0])}
        text.append(LINE.format(name=name, **middle))
    for name, value in ratios(rounds).items():
        shown = "not quoted: there were errors" if value is None else "{:.2f} (from {:.2f} to {:.2f})".format(*value)
        text.append(f"  {name:22} {shown}")
    return text


def write_json(path: Path, results: Mapping[str, Rounds]) -> None:
    """Write everything that was measured."""
    document = {
        name: {"ratios": ratios(rounds), "rounds": {server: [asdict(m) for m in ms] for server, ms in rounds.items()}}
        for name, rounds in results.items()
    }
    path.write_text(json.dumps(document, indent=1))


WIDTH, LEFT, ROW, BAR = 720, 200, 22, 7
COLORS = {"usual / product": "#9ca3af", "tuned / product": "#f59e0b"}


def write_chart(path: Path, titles: Mapping[str, str], results: Mapping[str, Rounds]) -> None:
    """Write a bar chart of how many times the processor time of the product each peer takes."""
    rows = [(titles[name], ratios(rounds)) for name, rounds in results.items() if name in titles]
    rows = [(title, values) for title, values in rows if values.get("usual / product")]
    names = ("usual / product", "tuned / product")
    longest = max((value[0] for _, values in rows for name in names if (value := values.get(name))), default=1.0)
    height = 60 + len(rows) * (ROW + 10)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="14">Processor time of a request, server and PostgreSQL, as a multiple of '
        "Todo Service's</text>",
        f'<text x="10" y="38" fill="{COLORS[names[0]]}">■ FastAPI + SQLModel</text>'
        f'<text x="170" y="38" fill="{COLORS[names[1]]}">■ FastAPI + asyncpg, tuned</text>',
    ]
    for index, (title, values) in enumerate(rows):
        top = 52 + index * (ROW + 10)
        parts.append(f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(title)}</text>')
        for line, name in enumerate(names):
            if value := values.get(name):
                length = max(2.0, (WIDTH - LEFT - 60) * value[0] / longest)
                y = top + line * (BAR + 2)
                parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLORS[name]}"/>')
                parts.append(f'<text x="{LEFT + length + 4:.1f}" y="{y + 8}" font-size="10">{value[0]:.1f} ×</text>')
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n")
