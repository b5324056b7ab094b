"""A thread that looks where the event loop stands while it does not turn: what blocks it cannot say so itself."""

import sys
import threading
import time
import traceback
from types import TracebackType

LOOK_SECONDS = 0.05
FRAMES = 20  # of the stack, the innermost ones


class Watchdog:
    """Watches the thread that enters it, which has to call `turn` more often than every `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._watched = threading.get_ident()
        self._turned = time.monotonic()
        self._seen: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def turn(self) -> str | None:
        """Say that it turns. Returns the stack it was seen at if it stood for too long before: files, lines and code,
        no values.
        """
        seen, self._seen = self._seen, None
        self._turned = time.monotonic()
        return seen

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if self._seen is None and time.monotonic() - self._turned > self._patience:
                frame = sys._current_frames().get(self._watched)
                self._seen = "".join(traceback.format_stack(frame)[-FRAMES:])
