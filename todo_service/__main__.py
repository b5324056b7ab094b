"""`python -m todo_service` and the installed `todo-service` serve the API; see `commands/serve.py`."""

import signal
import sys
from types import FrameType


def main() -> int:
    """Return the exit status of the service.

    Signal handlers are set before the imports: process 1 of a container would ignore a SIGTERM until then, and a Ctrl-C
    would print a traceback.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    from todo_service.commands import serve

    try:
        return serve.main()
    except KeyboardInterrupt:  # asyncio's own loop leaves Python's handler behind
        return 128 + signal.SIGINT


def end(number: int, _: FrameType | None) -> None:
    """Exit with the status that a shell gives a signal."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
