"""`bin/bench`: run one benchmark by its name."""

import asyncio
import sys

from tests.bench import lists, logins
from todo_service.commands.command import Parser

BENCHMARKS = {"lists": lists.run, "logins": logins.run}


def main() -> int:
    """Returns 0 if the figures hold, 1 if not."""
    parser = Parser(prog="bin/bench", description=__doc__, examples=("bin/bench logins", "bin/bench lists"))
    names = "lists: short and long lists, first and late pages; logins: task reads beside sign-ins"
    parser.add_argument("name", choices=sorted(BENCHMARKS), help=names)
    arguments = parser.parse_args()
    return 0 if asyncio.run(BENCHMARKS[arguments.name]()) else 1


if __name__ == "__main__":
    sys.exit(main())
