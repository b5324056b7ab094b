"""Counts for the hot path: an addition each, passed on to the series of the metrics library in bulk.

A series takes a lock and checks its arguments for each observation, and with several workers it writes to a file. So
what one turn of the event loop has counted is passed on in the next: even a worker that is killed loses nothing that
its clients have seen.
"""

import asyncio
from bisect import bisect_left
from contextlib import suppress
from typing import Protocol

from prometheus_client import Counter, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FAILURES = (500, 503)  # Prometheus would miss the first failure of a count that starts with it
OTHER = "other"  # every other method
UNMATCHED = "unmatched"  # every path without a route
SHED = "shed"  # requests that were refused before their route was matched


class _Tally(Protocol):
    def flush(self) -> None: ...


class Tallies:
    """The tallies with counts that have not been passed on."""

    def __init__(self) -> None:
        self._changed: list[_Tally] = []

    def add(self, tally: _Tally) -> None:
        """Pass the tally on in the next turn of the event loop; at once if none runs."""
        self._changed.append(tally)
        if len(self._changed) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Pass all on."""
        changed, self._changed = self._changed, []
        for tally in changed:
            with suppress(OSError, ValueError):  # a file that cannot be written must not stop the others
                tally.flush()


class CounterTally:
    """The increments of a counter that are not in its series yet."""

    __slots__ = ("_pending", "_series", "_tallies")

    def __init__(self, tallies: Tallies, series: Counter) -> None:
        self._tallies = tallies
        self._series = series
        self._pending = 0

    def inc(self) -> None:
        """Count one."""
        self._pending += 1
        if self._pending == 1:
            self._tallies.add(self)

    def flush(self) -> None:
        pending, self._pending = self._pending, 0
        self._series.inc(pending)


class HistogramTally:
    """The observations of a histogram that are not in its series yet."""

    __slots__ = ("_bounds", "_counts", "_has_changed", "_series", "_sum", "_tallies")

    def __init__(self, tallies: Tallies, series: Histogram) -> None:
        self._tallies = tallies
        self._series = series
        self._bounds: list[float] = series._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._has_changed = False

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        if not self._has_changed:
            self._has_changed = True
            self._tallies.add(self)

    def flush(self) -> None:
        """Pass all on; the library has no method for many observations at once."""
        self._has_changed = False
        for index, count in enumerate(self._counts):
            if count:
                self._counts[index] = 0
                self._series._buckets[index].inc(count)
        seconds, self._sum = self._sum, 0.0
        self._series._sum.inc(seconds)


class RequestTallies:
    """The counts of every request: its answer, its statements, its wait for a connection."""

    def __init__(
        self, *, answers: Counter, seconds: Histogram, statements: Histogram, acquire: Histogram, callers: Counter
    ) -> None:
        self._tallies = Tallies()
        self._answer_series = answers
        self._seconds_series = seconds
        self._statement_series = statements
        self._answers: dict[tuple[str, str, int], CounterTally] = {}
        self._durations: dict[tuple[str, str], HistogramTally] = {}
        self._statements: dict[str, HistogramTally] = {}
        self._caller_series = callers
        self._callers: dict[str, CounterTally] = {}
        self.acquire = HistogramTally(self._tallies, acquire)
        for method in METHODS:
            self._tally_answers(method, SHED, 503)

    def add_route(self, method: str, route: str) -> None:
        """Create the series of a route, at zero, before its first request."""
        self._durations[method, route] = HistogramTally(self._tallies, self._seconds_series.labels(method, route))
        for status in FAILURES:
            self._tally_answers(method, route, status)

    def count_answer(self, method: str, route: str, status: int, seconds: float | None = None) -> None:
        """Count an answer; `seconds` is None where its duration is unknown."""
        if method not in METHODS:
            method = OTHER
        tally = self._answers.get((method, route, status)) or self._tally_answers(method, route, status)
        tally.inc()
        if seconds is not None:
            if (method, route) not in self._durations:
                self.add_route(method, route)
            self._durations[method, route].observe(seconds)

    def count_caller(self, kind: str) -> None:
        """Count a request of an authenticated caller of this kind."""
        tally = self._callers.get(kind)
        if tally is None:
            tally = self._callers[kind] = CounterTally(self._tallies, self._caller_series.labels(kind))
        tally.inc()

    def statement(self, name: str, seconds: float) -> None:
        """Count a statement of this name."""
        tally = self._statements.get(name)
        if tally is None:
            tally = self._statements[name] = HistogramTally(self._tallies, self._statement_series.labels(name))
        tally.observe(seconds)

    def flush(self) -> None:
        """Pass all on to the series, before a scrape."""
        self._tallies.flush()

    def _tally_answers(self, method: str, route: str, status: int) -> CounterTally:
        series = self._answer_series.labels(method, route, str(status))
        tally = self._answers[method, route, status] = CounterTally(self._tallies, series)
        return tally
