"""Lines of the log on their way to standard output, without ever blocking the event loop.

A pipe whose reader stops would block the process at the next line, and with it every request. So while the event loop
runs, lines are collected and written at the end of its turn, as far as the pipe takes them; beyond `MAX_WAITING` bytes
they are dropped and counted.
"""

import asyncio
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable

MAX_WAITING = 8 * 1024 * 1024  # bytes
RETRY_SECONDS = 0.05
LAST_SECONDS = 1.0  # how long the lines of the end wait for a reader
_PIECE = select.PIPE_BUF  # a writable pipe takes this much at once, and does not mix it with other processes' lines


class LineWriter:
    """Writes lines to a file descriptor: at once, and after `attach` from the event loop.

    Args:
        on_dropped: Called with the number of lines that were dropped, once there is room again.
    """

    def __init__(self, descriptor: int, on_dropped: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._on_dropped = on_dropped
        self._never_blocks = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._is_scheduled = False
        self._is_broken = False
        self._dropped = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write from this event loop from now on; called in its thread."""
        self._loop, self._thread = loop, threading.get_ident()

    def detach(self) -> None:
        """Write the lines that wait, for at most a second, and from now on at once again."""
        self._loop = None
        while self._lines and self._poll.poll(LAST_SECONDS * 1000):
            self._write(self._next_piece())

    def write(self, line: bytes) -> None:
        """Write a line, given without its end."""
        if self._loop is None:
            self._write_whole(line + b"\n")
        elif self._waiting > MAX_WAITING:
            self._dropped += 1
        else:
            self._lines.append(line + b"\n")
            self._waiting += len(line) + 1
            if not self._is_scheduled:
                self._is_scheduled = True
                soon = threading.get_ident() == self._thread
                (self._loop.call_soon if soon else self._loop.call_soon_threadsafe)(self._flush)

    def _flush(self) -> None:
        while self._lines:
            if not (self._never_blocks or self._poll.poll(0)):
                if self._loop is not None:
                    self._loop.call_later(RETRY_SECONDS, self._flush)
                return
            self._write(self._next_piece())
        self._is_scheduled = False
        if self._dropped and not self._is_broken:
            dropped, self._dropped = self._dropped, 0
            self._on_dropped(dropped)

    def _next_piece(self) -> bytes:
        """Take as many whole lines as a pipe takes at once, or a part of a longer line."""
        piece = self._lines.popleft()
        if len(piece) > _PIECE and not self._never_blocks:
            self._lines.appendleft(piece[_PIECE:])
            piece = piece[:_PIECE]
        else:
            taken, size = [piece], len(piece)
            while self._lines and (self._never_blocks or size + len(self._lines[0]) <= _PIECE):
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            piece = b"".join(taken)
        self._waiting -= len(piece)
        return piece

    def _write(self, piece: bytes) -> None:
        """Write a piece; a disk that is full, or a reader that is gone, must not fail a request."""
        try:
            os.write(self._descriptor, piece)
            self._is_broken = False
        except OSError:
            self._is_broken = True
            self._dropped += piece.count(b"\n")

    def _write_whole(self, data: bytes) -> None:
        """Write everything, however long it takes."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                return
