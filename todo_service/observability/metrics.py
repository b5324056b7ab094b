"""Prometheus metrics: the name, the labels and the buckets of each.

A label is a route's template, a statement's name or a word from a fixed list, never a caller's text, so the number of
series is bounded. Two applications of one process share nothing here. The hot path counts in tallies.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from todo_service.observability.tallies import CounterTally, HistogramTally, Tallies

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10)  # seconds, as all buckets here
STATEMENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FAILURES = (500, 503)  # Prometheus would miss the first failure of a count that starts with it
OTHER = "other"  # every other method
UNMATCHED = "unmatched"  # every path without a route
SHED = "shed"  # requests that were refused before their route was matched


class Metrics:
    """The metrics of one application. `source` is exposed: its own registry, or the sum of several workers (see
    `multiprocess_metrics.py`).
    """

    def __init__(self, *, version: str = "", source: Collector | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the time of each series' birth: twice the lines, and unknown with several workers
        self._registry = CollectorRegistry()
        self._source = source or self._registry
        self._tallies = Tallies()
        self._answers: dict[tuple[str, str, int], CounterTally] = {}
        self._durations: dict[tuple[str, str], HistogramTally] = {}
        self._statements: dict[str, HistogramTally] = {}
        self._words: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._redis_up: Gauge | None = None
        self._define_requests()
        self._define_database()
        self._define_events()
        self.worker_deaths = self._counter("todo_worker_deaths", "Workers that ended unasked and were replaced.")
        build = Gauge("todo_build_info", "1, labelled with the version that runs.", ["version"],
                      registry=self._registry, multiprocess_mode="livemax")  # fmt: skip
        build.labels(version).set(1)

    def _define_requests(self) -> None:
        of_route = ["method", "route"]
        self._requests = self._counter("todo_http_requests", "Requests answered.", [*of_route, "status"])
        for method in METHODS:
            self._tally_answers(method, SHED, 503)
        self._seconds = self._histogram(
            "todo_http_request_duration_seconds", "From a request's head to its answer.", REQUEST_BUCKETS, of_route
        )
        self.in_flight = self._gauge("todo_http_requests_in_flight", "Requests being answered now.")
        self.shed = self._counter("todo_http_requests_shed", "Requests refused because too many were in flight.")
        self.lag = self._histogram(
            "todo_event_loop_lag_seconds", "How late the event loop woke a task that slept.", STATEMENT_BUCKETS
        )

    def _define_database(self) -> None:
        self._statement_seconds = self._histogram(
            "todo_database_statement_duration_seconds", "One statement, by name.", STATEMENT_BUCKETS, ["statement"]
        )
        self.acquire = HistogramTally(
            self._tallies,
            self._histogram(
                "todo_database_acquire_duration_seconds", "The wait for a connection of the pool.", STATEMENT_BUCKETS
            ),
        )
        self.pool_size = self._gauge("todo_database_pool_size", "Connections open.")
        self.pool_free = self._gauge("todo_database_pool_free", "Idle connections.")
        self.pool_waiters = self._gauge("todo_database_pool_waiters", "Requests waiting for a connection.")

    def _define_events(self) -> None:
        self.password_checks = self._gauge("todo_password_checks_waiting", "Password checks waiting for a thread.")
        self._auth = self._counter(
            "todo_auth_events", "Sign-ins, registrations, refreshes, refused tokens.", ["event", "outcome"]
        )
        self._limited = self._counter("todo_rate_limited", "Requests refused by a rate limit.", ["limit"])
        self.redis_errors = self._counter("todo_rate_limit_redis_errors", "Rate limit checks that Redis failed.")
        self._validations = self._counter(
            "todo_key_validations", "API keys that a provider was asked about.", ["provider", "outcome"]
        )
        self._lists = self._counter("todo_list_cache_requests", "Lists answered, by their source.", ["outcome"])
        self.sync_resets = self._counter("todo_sync_resets", "Clients of delta sync that had to start over.")

    def add_route(self, method: str, route: str) -> None:
        """Create the series of a route, at zero, before its first request."""
        self._durations[method, route] = HistogramTally(self._tallies, self._seconds.labels(method, route))
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

    def statement(self, name: str, seconds: float) -> None:
        """Count a statement of this name."""
        tally = self._statements.get(name)
        if tally is None:
            tally = self._statements[name] = HistogramTally(self._tallies, self._statement_seconds.labels(name))
        tally.observe(seconds)

    def auth_event(self, event: str, outcome: str) -> None:
        """Count an event of a credential: `event` is `sign_in`, `registration`, `refresh` or `token`."""
        self._word(self._auth, event, outcome).inc()

    @contextmanager
    def auth_attempt(self, event: str, outcomes: Mapping[type[Exception], str]) -> Iterator[None]:
        """Count how the block ends: `succeeded`, one of `outcomes`, or `error` for any other exception."""
        outcome = "error"
        try:
            yield
            outcome = "succeeded"
        except tuple(outcomes) as error:
            outcome = next(word for kind, word in outcomes.items() if isinstance(error, kind))
            raise
        finally:
            self.auth_event(event, outcome)

    def limited(self, name: str) -> None:
        """Count a request that the limit of this name refused."""
        self._word(self._limited, name).inc()

    def key_validated(self, provider: str, outcome: str) -> None:
        """Count the verdict of a provider on an API key: `valid`, `invalid`, `quota_exceeded` or `unreachable`."""
        self._word(self._validations, provider, outcome).inc()

    def redis_error(self) -> None:
        """Count a late answer of Redis, or a failed connection."""
        self.redis_errors.inc()

    def redis_up(self, up: bool) -> None:
        """Set whether Redis answers. Without a call, as without Redis, there is no such series."""
        if self._redis_up is None:
            self._redis_up = self._gauge("todo_rate_limit_redis_up", "1 if Redis answers every worker.", "livemin")
        self._redis_up.set(up)

    def list_answered(self, outcome: str) -> None:
        """Count an answer to a list: `hit` (from the cache), `miss` (read from the database) or `not_modified`."""
        self._word(self._lists, outcome).inc()

    def flush(self) -> None:
        """Pass the tallies on to their series, before a scrape."""
        self._tallies.flush()

    def families(self) -> list[Metric]:
        """Return everything passed on so far, in all workers. Takes milliseconds: not on the event loop."""
        return list(self._source.collect())

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition for an `Accept` header, OpenMetrics or Prometheus's own, and its content type.

        The library's own choice fails over a malformed header.
        """
        if openmetrics.CONTENT_TYPE_LATEST.partition(";")[0] in accept:
            write: Callable[[Collector], bytes] = openmetrics.generate_latest
            return write(self._source), openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._source), CONTENT_TYPE_PLAIN_0_0_4

    def _tally_answers(self, method: str, route: str, status: int) -> CounterTally:
        series = self._requests.labels(method, route, str(status))
        tally = self._answers[method, route, status] = CounterTally(self._tallies, series)
        return tally

    def _word(self, counter: Counter, *words: str) -> Counter:
        if (counter, words) not in self._words:
            self._words[counter, words] = counter.labels(*words)
        return self._words[counter, words]

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, text, labels or (), registry=self._registry)

    def _gauge(self, name: str, text: str, mode: str = "livesum") -> Gauge:
        return Gauge(name, text, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: list[str] | None = None
    ) -> Histogram:
        return Histogram(name, text, labels or (), registry=self._registry, buckets=buckets)


METRICS = web.AppKey("metrics", Metrics)
