"""`bin/bench`: run one benchmark by its name."""

import asyncio
import sys

import uvloop

from tests.bench import lists, logins, overload
from todo_service.commands.command import Parser

BENCHMARKS = {"lists": lists.run, "logins": logins.run, "overload": overload.run}


def main() -> int:
    """Returns 0 if the figures hold, 1 if not."""
    parser = Parser(prog="bin/bench", description=__doc__, examples=("bin/bench logins", "bin/bench lists"))
    names = (
        "lists: short and long lists, first and late pages; logins: task reads beside sign-ins; "
        "overload: three times as many requests as can be served"
    )
    parser.add_argument("name", choices=sorted(BENCHMARKS), help=names)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the quicker the asking, the truer the figures
        return 0 if runner.run(BENCHMARKS[arguments.name]()) else 1


if __name__ == "__main__":
    sys.exit(main())
