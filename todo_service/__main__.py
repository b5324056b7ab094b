"""`python -m todo_service` serves the API; what it does is in `commands/serve.py`.

As process 1 of a container it would not hear a SIGTERM that comes while the imports go on, and a Ctrl-C would print
where they are; hence the order here.
"""

import signal
import sys
from types import FrameType


def end(number: int, _: FrameType | None) -> None:
    """End with the status that a shell gives a signal."""
    sys.exit(128 + number)


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)

from todo_service.commands.serve import main  # noqa: E402

try:
    sys.exit(main())
except KeyboardInterrupt:  # asyncio's own loop leaves Python's handler behind
    sys.exit(128 + signal.SIGINT)
