"""Tallies: every count reaches its series, at the next turn of the event loop."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from todo_service.observability.tallies import CounterTally, HistogramTally, Tallies


def samples(registry: CollectorRegistry) -> dict[str, float]:
    found = (sample for family in registry.collect() for sample in family.samples)
    return {sample.name + str(sample.labels.get("le", "")): sample.value for sample in found}


async def test_counts_are_those_of_the_library() -> None:
    registry, reference = CollectorRegistry(), CollectorRegistry()
    buckets = (0.1, 0.5, 1)
    tallies = Tallies()
    counted = CounterTally(tallies, Counter("answers", "a", registry=registry))
    observed = HistogramTally(tallies, Histogram("seconds", "s", registry=registry, buckets=buckets))
    counter = Counter("answers", "a", registry=reference)
    histogram = Histogram("seconds", "s", registry=reference, buckets=buckets)
    for turn in range(3):
        for value in (0.0, 0.1, 0.1000001, 0.5, 0.75, 1.0, 99.0, turn / 3):
            counted.inc()
            counter.inc()
            observed.observe(value)
            histogram.observe(value)
        await asyncio.sleep(0)
        found, wanted = samples(registry), samples(reference)
        for name, value in wanted.items():
            if "created" not in name:
                assert abs(found[name] - value) < 1e-9, name


def test_without_an_event_loop_each_count_is_passed_on_at_once() -> None:
    registry = CollectorRegistry()
    CounterTally(Tallies(), Counter("answers", "a", registry=registry)).inc()
    assert samples(registry)["answers_total"] == 1


async def test_a_scrape_in_the_same_turn_has_them() -> None:
    registry, tallies = CollectorRegistry(), Tallies()
    CounterTally(tallies, Counter("answers", "a", registry=registry)).inc()
    assert samples(registry)["answers_total"] == 0
    tallies.flush()
    assert samples(registry)["answers_total"] == 1
