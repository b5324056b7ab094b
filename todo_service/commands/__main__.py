"""`python -m todo_service.commands NAME …` runs one command, as the scripts in `bin/` do.

Ctrl-C, from the first import on, and a reader that goes away (`| head`) end it with the status a shell gives them.
"""

import os
import signal
import sys
from importlib import import_module


def main() -> int:
    """Returns the command's own status, 130 after Ctrl-C, 141 if nobody reads its output any more."""
    try:
        name = sys.argv.pop(1)
        status: int = import_module(f"todo_service.commands.{name.replace('-', '_')}").main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left at its end
        return 128 + signal.SIGPIPE
    return status


if __name__ == "__main__":
    sys.exit(main())
