"""`python -m todo_service` serves the API; what it does is in `commands/serve.py`.

As process 1 of a container it would not hear a SIGTERM that comes while the imports go on, hence the order here.
"""

import signal
import sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

from todo_service.commands.serve import main  # noqa: E402

sys.exit(main())
