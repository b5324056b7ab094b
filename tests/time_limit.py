"""A run that ends in time: `--seconds` skips tests that have not begun by then, and reports their number.

The slow kinds come last, so that a slow machine leaves out those. The floor of the coverage is for complete runs.
"""

import os
import time

import pytest

DEADLINE = "TEST_DEADLINE"  # seconds since the epoch, inherited by the workers
REASON = "the time of this run is over"
SLOW = (
    "clients",
    "better_auth",
    "browser",
    "deploy",
    "fuzz",
    "commands",
    "server",
    "bench",
    "chaos",
)  # folders of tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seconds", type=float, help="skip tests that have not begun after this time")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seconds is not None and not hasattr(config, "workerinput"):
        os.environ[DEADLINE] = str(time.time() + config.option.seconds)
        config.add_cleanup(_forget)
        config.pluginmanager.register(ShortenedRun(config))


def _forget() -> None:
    del os.environ[DEADLINE]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return 1 + SLOW.index(folder) if folder in SLOW else 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if time.time() > float(os.environ.get(DEADLINE, "inf")):
        pytest.skip(REASON)


class ShortenedRun:
    """The tests that a run has left out, counted by its first process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._count = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and REASON in str(report.longrepr):
            self._count += 1
            if coverage := self._config.pluginmanager.get_plugin("_cov"):
                coverage.options.cov_fail_under = 0

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._count:
            terminalreporter.section("shortened", sep="!")
            terminalreporter.write(
                f"{self._count} tests were left out: this machine needs more than {self._config.option.seconds:g} s."
                " Coverage was not judged. Run bin/test for all of them.\n"
            )
