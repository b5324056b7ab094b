"""Prometheus metrics: the name, the labels and the buckets of each.

A label is a route's template, a statement's name or a word from a fixed list, never a caller's text, so the number of
series is bounded. Two applications of one process share nothing here. The hot path counts in tallies.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from todo_service.observability.tallies import RequestTallies

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10)  # seconds, as all buckets here
STATEMENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics(RequestTallies):
    """The metrics of one application. `source` is exposed: its own registry, or the sum of several workers (see
    `multiprocess_metrics.py`).
    """

    def __init__(self, *, version: str = "", source: Collector | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the time of each series' birth: twice the lines, and unknown with several workers
        self._registry = CollectorRegistry()
        self._source = source or self._registry
        if source is None:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
        self._words: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._redis_up: Gauge | None = None
        super().__init__(
            answers=self._counter("todo_http_requests", "Requests answered.", ["method", "route", "status"]),
            seconds=self._histogram(
                "todo_http_request_duration_seconds",
                "From a request's head to its answer.",
                REQUEST_BUCKETS,
                ["method", "route"],
            ),
            statements=self._histogram(
                "todo_database_statement_duration_seconds", "One statement, by name.", STATEMENT_BUCKETS, ["statement"]
            ),
            callers=self._counter("todo_authenticated_requests", "Requests by the kind of their caller.", ["caller"]),
            acquire=self._histogram(
                "todo_database_acquire_duration_seconds", "The wait for a connection of the pool.", STATEMENT_BUCKETS
            ),
        )
        self._define_load()
        self._define_events()
        self.worker_deaths = self._counter("todo_worker_deaths", "Workers that ended unasked and were replaced.")
        build = Gauge("todo_build_info", "1, labelled with the version that runs.", ["version"],
                      registry=self._registry, multiprocess_mode="livemax")  # fmt: skip
        build.labels(version).set(1)

    def _define_load(self) -> None:
        self.in_flight = self._gauge("todo_http_requests_in_flight", "Requests being answered now.")
        self.shed = self._counter("todo_http_requests_shed", "Requests refused because too many were in flight.")
        self.lag = self._histogram(
            "todo_event_loop_lag_seconds", "How late the event loop woke a task that slept.", STATEMENT_BUCKETS
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
        self._mails = self._counter("todo_mails", "Messages to users, by what became of each try.", ["kind", "outcome"])
        self.open_streams = self._gauge("todo_event_streams_open", "Streams of events that are open.")
        self._events = self._counter("todo_events_sent", "Events sent in streams.")
        self._event_lag = self._histogram(
            "todo_event_lag_seconds", "From a change to its event, by the two machines' clocks.", REQUEST_BUCKETS
        )
        self.sync_resets = self._counter("todo_sync_resets", "Clients of delta sync that had to start over.")

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

    def set_pool(self, size: int, free: int, waiters: int) -> None:
        """Set the gauges of the pool."""
        self.pool_size.set(size)
        self.pool_free.set(free)
        self.pool_waiters.set(waiters)

    def limited(self, name: str) -> None:
        """Count a request that the limit of this name refused."""
        self._word(self._limited, name).inc()

    def key_validated(self, provider: str, outcome: str) -> None:
        """Count the verdict of a provider on an API key: `valid`, `invalid`, `quota_exceeded` or `unreachable`."""
        self._word(self._validations, provider, outcome).inc()

    def expect_mails(self, kinds: Iterable[str], outcomes: Iterable[str]) -> None:
        """Create the series of all kinds and outcomes, at zero: the first failure must show as an increase."""
        for kind, outcome in itertools.product(kinds, outcomes):
            self._word(self._mails, kind, outcome)

    def mail_ended(self, kind: str, outcome: str) -> None:
        """Count a try to send a message: `sent`, `postponed`, or given up as `failed` or `dropped`."""
        self._word(self._mails, kind, outcome).inc()

    def event_sent(self, lag: float | None) -> None:
        """Count an event, and the seconds since its change if they are known."""
        self._events.inc()
        if lag is not None:
            self._event_lag.observe(max(0.0, lag))

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

    def families(self) -> list[Metric]:
        """Return everything passed on so far, in all workers. Takes milliseconds: not on the event loop."""
        return list(self._source.collect())

    def text(self, content_type: str) -> bytes:
        """Return the exposition in one of the formats of `accepted_format`. Takes milliseconds, like `families`."""
        if content_type == openmetrics.CONTENT_TYPE_LATEST:
            write: Callable[[Collector], bytes] = openmetrics.generate_latest
            return write(self._source)
        return generate_latest(self._source)

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


def accepted_format(accept: str) -> str:
    """Return the content type for an `Accept` header: OpenMetrics or Prometheus's own.

    The library's own choice fails over a malformed header.
    """
    is_openmetrics = openmetrics.CONTENT_TYPE_LATEST.partition(";")[0] in accept
    return openmetrics.CONTENT_TYPE_LATEST if is_openmetrics else CONTENT_TYPE_PLAIN_0_0_4


METRICS = web.AppKey("metrics", Metrics)
