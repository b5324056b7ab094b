"""The metrics as a short JSON document, for people and for clients that do not read Prometheus text."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.metrics_core import Metric
from pydantic import ConfigDict, Field, JsonValue

from todo_service.wire.codec import Output

ERRORS = 400  # from this status on
EXAMPLE: dict[str, JsonValue] = {
    "error_rate_percent": 0.0,
    "avg_response_time": 0.004,
    "p50_response_time": 0.0038,
    "p95_response_time": 0.0049,
    "p99_response_time": 0.005,
}


class _Times(Output):
    error_rate_percent: float
    avg_response_time: float = Field(description="Seconds, like all times here.")
    p50_response_time: float
    p95_response_time: float
    p99_response_time: float


class EndpointStats(_Times):
    """The counts of one route."""

    requests: int
    errors: int


class Summary(_Times):
    """The counts, in short."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"total_requests": 2, "total_errors": 0}
                | EXAMPLE
                | {"endpoint_stats": {"GET /api/v1/tasks": {"requests": 2, "errors": 0} | EXAMPLE}}
            ]
        }
    )

    total_requests: int
    total_errors: int
    endpoint_stats: dict[str, EndpointStats] = Field(description="By method and route.")


@dataclass(slots=True)
class _Sums:
    """The sums of one route, or of all."""

    requests: float = 0
    errors: float = 0
    seconds: float = 0
    below: defaultdict[float, float] = field(default_factory=lambda: defaultdict(float))  # bucket's end -> requests

    def document(self, prefix: str) -> dict[str, Any]:
        timed = self.below.get(float("inf"), 0)
        return {
            f"{prefix}requests": int(self.requests),
            f"{prefix}errors": int(self.errors),
            "error_rate_percent": round(100 * self.errors / self.requests, 2) if self.requests else 0.0,
            "avg_response_time": round(self.seconds / timed, 6) if timed else 0.0,
            **{f"p{share}_response_time": round(quantile(self.below, share / 100), 6) for share in (50, 95, 99)},
        }


def summary(families: Iterable[Metric]) -> dict[str, Any]:
    """Return totals, and the same for each `METHOD route` under `endpoint_stats`.

    Times are seconds; percentiles are estimated from the histogram's buckets as PromQL's `histogram_quantile` does.
    Errors are answers of 400 and above.
    """
    whole = _Sums()
    of_route: defaultdict[str, _Sums] = defaultdict(_Sums)
    for family in families:
        if family.name in {"todo_http_requests", "todo_http_request_duration_seconds"}:
            for sample in family.samples:
                endpoint = f"{sample.labels['method']} {sample.labels['route']}"
                for sums in (whole, of_route[endpoint]):
                    _add(sums, sample.name, sample.labels, sample.value)
    stats = {name: sums.document("") for name, sums in sorted(of_route.items()) if sums.requests}
    return {**whole.document("total_"), "endpoint_stats": stats}


def _add(sums: _Sums, name: str, labels: dict[str, str], value: float) -> None:
    match name.rpartition("_")[2]:
        case "total":
            sums.requests += value
            sums.errors += value if int(labels["status"]) >= ERRORS else 0
        case "sum":
            sums.seconds += value
        case "bucket":
            sums.below[float(labels["le"])] += value


def quantile(below: dict[float, float], share: float) -> float:
    """Return the value below which `share` of all lie, interpolated within a bucket.

    `below` counts up to each bound.
    """
    rank = share * below.get(float("inf"), 0)
    if not rank:
        return 0.0
    start, before = 0.0, 0.0
    for end, count in sorted(below.items()):
        if count >= rank:
            return start if end == float("inf") else start + (end - start) * (rank - before) / (count - before)
        start, before = end, count
    return start
