"""`bin/bench`: run one benchmark by its name."""

import asyncio
import sys
from pathlib import Path

import uvloop

from tests.bench import admin, lists, live, logins, memory, overload, peers
from todo_service.commands.command import Parser

BENCHMARKS = {
    "admin": admin.run, "lists": lists.run, "live": live.run, "logins": logins.run, "memory": memory.run,
    "overload": overload.run,
}  # fmt: skip


def main() -> int:
    """Returns 0 if the figures hold, 1 if not."""
    parser = Parser(
        prog="bin/bench",
        description=__doc__,
        examples=("bin/bench peers --quick", "bin/bench peers list20 get", "bin/bench logins"),
    )
    names = (
        "peers: the service beside the usual FastAPI stack, a tuned one, and a constant answer; admin: lists of all "
        "users, and deletions, with a million users; lists: short and long lists, first and late pages; live: streams "
        "of events; logins: task reads beside sign-ins; memory: a million requests; overload: three times as many "
        "requests as can be served"
    )
    parser.add_argument("name", choices=sorted([*BENCHMARKS, "peers"]), help=names)
    parser.add_argument("scenario", nargs="*", help="with peers: only these scenarios, such as list20, get or mixed")
    parser.add_argument("--quick", action="store_true", help="with peers: the main scenarios in three minutes")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="with peers: for peers.json and peers.svg")
    arguments = parser.parse_args()
    if arguments.name == "peers":
        benchmark = peers.run(arguments.folder, arguments.scenario, quick=arguments.quick)
    else:
        benchmark = BENCHMARKS[arguments.name]()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the quicker the load, the truer the figures
        return 0 if runner.run(benchmark) else 1


if __name__ == "__main__":
    sys.exit(main())
