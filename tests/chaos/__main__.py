"""`bin/chaos`: break something on purpose and show what was lost. Exits with 0 only if every pass figure holds."""

import asyncio
import importlib
import pkgutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import uvloop

import tests.chaos
from tests.chaos.report import Report, write
from todo_service.commands.command import Parser


def experiments() -> dict[str, Any]:
    """The modules of the experiments by their ids, such as `E1`."""
    names = sorted(module.name for module in pkgutil.iter_modules(tests.chaos.__path__) if module.name[1:3].isdigit())
    return {f"E{int(name[1:3])}": importlib.import_module(f"tests.chaos.{name}") for name in names}


async def run(experiment: str, module: Any, *, short: bool = False) -> Report:
    """Run one experiment; an error of its own is a failure with its traceback's last line."""
    report, began = Report(experiment), time.monotonic()
    try:
        await module.run(report, short=short)
    except Exception as error:
        traceback.print_exc()
        report.error = f"{type(error).__name__}: {error}"[:300]
    report.seconds = time.monotonic() - began
    return report


def main() -> int:
    """Return 0 if the figures hold, 1 if not."""
    known = experiments()
    parser = Parser(
        prog="bin/chaos",
        description=__doc__,
        examples=("bin/chaos --list", "bin/chaos E1", "bin/chaos all --report chaos.json"),
    )
    parser.add_argument("experiment", nargs="*", help="such as E1, or all")
    parser.add_argument("--list", action="store_true", help="name the experiments")
    parser.add_argument("--short", action="store_true", help="the short forms, as the tests run them")
    parser.add_argument("--report", type=Path, help="write the figures as JSON, and as a table beside it")
    parser.add_folder()
    arguments = parser.parse_args()
    if arguments.list or not arguments.experiment:
        for name, module in known.items():
            print(f"{name:4} {'*' if module.SHORT else ' '} {module.__doc__.splitlines()[0]}")
        return 0
    chosen = list(known) if "all" in arguments.experiment else arguments.experiment
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"there is no experiment {', '.join(unknown)}")
    reports = []
    for name in chosen:
        print(f"{name}  {known[name].__doc__.splitlines()[0]}", flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            reports.append(runner.run(run(name, known[name], short=arguments.short)))
        print("\n".join([*reports[-1].lines(), f"  {reports[-1].seconds:.0f} s"]), flush=True)
    if arguments.report:
        write(arguments.folder / arguments.report, reports)
    return 0 if all(report.holds for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
