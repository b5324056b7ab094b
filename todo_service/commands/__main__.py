"""`python -m todo_service.commands NAME …` runs one command, as the scripts in `bin/` and the installed
`todo-service-NAME` do.

Ctrl-C, from the first import on, and a reader that goes away (`| head`) end it with the status a shell gives them.
"""

import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

COMMANDS = (
    "audit", "backup", "create-admin", "distribute", "migrate", "new-epoch", "purge", "reencrypt", "restore",
    "seed-demo", "users",
)  # fmt: skip


def main() -> int:
    """Return the command's status: 1 if its output cannot be written, 130 after Ctrl-C, 141 if its reader has gone."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print(f"usage: python -m todo_service.commands NAME …; NAME is one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for letters that the terminal cannot show
    try:
        return _run(name)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        _drop_output()
        print(f"The output cannot be written: {error.strerror}.", file=sys.stderr)
        return 1


def script() -> int:
    """Return the status of the command that the running program, `todo-service-NAME`, is named for."""
    sys.argv.insert(1, Path(sys.argv[0]).name.removeprefix("todo-service-"))
    return main()


def _run(name: str) -> int:
    try:
        status: int = import_module(f"todo_service.commands.{name.replace('-', '_')}").main()
        return status
    finally:
        if sys.stdout:  # closed by `>&-` it is None
            sys.stdout.flush()


def _drop_output() -> None:
    """Drop the unwritten output; Python would write it at its end and fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
