"""`python -m todo_service` serves the API; see `commands/serve.py`.

Signal handlers are set before the imports: process 1 of a container would ignore a SIGTERM until then, and a Ctrl-C
would print a traceback.
"""

import signal
import sys
from types import FrameType


def end(number: int, _: FrameType | None) -> None:
    """Exit with the status that a shell gives a signal."""
    sys.exit(128 + number)


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)

from todo_service.commands.serve import main  # noqa: E402

try:
    sys.exit(main())
except KeyboardInterrupt:  # asyncio's own loop leaves Python's handler behind
    sys.exit(128 + signal.SIGINT)
