"""`bin/bench`: run one benchmark by its name."""

import argparse
import asyncio
import sys

from tests.bench import lists, logins, overload

BENCHMARKS = {"lists": lists.run, "logins": logins.run, "overload": overload.run}


def main() -> int:
    """Returns 0 if the figures hold, 1 if not."""
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    names = (
        "lists: short and long lists, first and late pages; logins: task reads beside sign-ins; "
        "overload: three times as many requests as can be served"
    )
    parser.add_argument("name", choices=sorted(BENCHMARKS), help=names)
    arguments = parser.parse_args()
    return 0 if asyncio.run(BENCHMARKS[arguments.name]()) else 1


if __name__ == "__main__":
    sys.exit(main())
