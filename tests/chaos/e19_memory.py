"""Memory: a million requests of a mixed day on one process.

Pass: at most a tenth more after all of them than after the first 100,000, no error, and an idle process below 90 MB.
"""

from tests.bench import memory
from tests.chaos.report import Report

SHORT = False


async def run(report: Report, *, short: bool) -> None:
    report.equals("the bounds of bin/bench memory hold", await memory.run(), True)
