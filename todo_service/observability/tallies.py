"""Counts for the hot path: an addition each, passed on to the series of the metrics library in bulk.

A series takes a lock and checks its arguments for each observation, and with several workers it writes to a file.
"""

from bisect import bisect_left

from prometheus_client import Counter, Histogram


class CounterTally:
    """The increments of a counter that are not in its series yet."""

    __slots__ = ("_series", "pending")

    def __init__(self, series: Counter) -> None:
        self._series = series
        self.pending = 0

    def flush(self) -> None:
        """Pass everything on."""
        if self.pending:
            self._series.inc(self.pending)
            self.pending = 0


class HistogramTally:
    """The observations of a histogram that are not in its series yet."""

    __slots__ = ("_bounds", "_counts", "_series", "_sum")

    def __init__(self, series: Histogram) -> None:
        self._series = series
        self._bounds: list[float] = series._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """Pass everything on. The library has no method for many observations at once."""
        for index, count in enumerate(self._counts):
            if count:
                self._series._buckets[index].inc(count)
                self._counts[index] = 0
        if self._sum:
            self._series._sum.inc(self._sum)
            self._sum = 0.0
