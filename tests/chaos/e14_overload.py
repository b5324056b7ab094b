"""Overload: three times as many requests as can be served, for a minute in ten rounds.

Pass: four fifths of the peak are still answered, 95 of 100 refusals come within 0.1 seconds, nothing but 503 besides;
a second later three fourths of the first peak are reached again, and the workers have not grown by more than 40 MB.
"""

from tests.bench import overload
from tests.chaos.report import Report

SHORT = False
ROUNDS = 10


async def run(report: Report, *, short: bool) -> None:
    figures = await overload.measure(ROUNDS)
    report.at_least("answers, of those at the peak", figures.goodput, overload.GOODPUT)
    report.at_most("refusals in seconds, 95th percentile", figures.refusal, overload.REFUSAL)
    report.equals("other answers", figures.others, 0)
    report.at_least("answers afterwards, of those at the peak", figures.afterwards, 0.75)
    report.at_most("megabytes more", figures.megabytes, 40)
