"""Passwords: how they are kept and checked without stalling anybody else.

bcrypt costs a quarter of a second of CPU on purpose. It runs in threads of its own, at most one less than there are
cores, behind a bounded queue: a flood of sign-ins gets 503s, never the task requests beside it.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import bcrypt

from todo_service.errors import Overloaded

BCRYPT_BYTES = 72
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
QUEUE_SECONDS = 8  # nobody waits longer than about this for a turn
CHECKS_A_SECOND = 4  # of one thread at 12 rounds
P = ParamSpec("P")
T = TypeVar("T")


def available_cores() -> int:
    """The cores this process may use: fewer than the machine has under CPU affinity or a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


class Passwords:
    """Hashes and checks passwords with bcrypt at `rounds`, in `threads` (None: one less than cores); `close` it."""

    def __init__(self, *, rounds: int, threads: int | None = None) -> None:
        threads = threads or max(1, available_cores() - 1)
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._free_places = threads * (1 + QUEUE_SECONDS * CHECKS_A_SECOND)
        self._dummy = bcrypt.hashpw(b"", bcrypt.gensalt(rounds))

    async def hash(self, password: str) -> str:
        """The bcrypt hash to store. Raises `Overloaded` when the queue is full."""
        hashed = await self._in_thread(bcrypt.hashpw, _bcrypt_input(password), bcrypt.gensalt(self._rounds))
        return hashed.decode()

    async def check(self, password: str, stored: str | None) -> bool:
        """Whether this is the password of the stored hash; a missing or broken one costs the same time."""
        return await self._in_thread(partial(_matches, _bcrypt_input(password), stored, self._dummy))

    def is_weak(self, stored: str) -> bool:
        """Whether a stored hash was made with fewer rounds than are used now."""
        return int(stored.split("$")[2]) < self._rounds

    def close(self) -> None:
        """Let running checks end and drop the waiting ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._free_places == 0:
            raise Overloaded("Too many sign-ins at once. Wait as long as `Retry-After` says and try again.")
        self._free_places -= 1
        future = self._threads.submit(work, *args, **kwargs)
        future.add_done_callback(partial(_on_loop, asyncio.get_running_loop(), self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._free_places += 1


def _on_loop(loop: asyncio.AbstractEventLoop, done: Callable[[], None], _: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(done)


def _bcrypt_input(password: str) -> bytes:
    """What bcrypt is given: the bytes themselves, or for more than it can take a digest of them in 64 characters."""
    raw = password.encode()
    return raw if len(raw) <= BCRYPT_BYTES else base64.b64encode(hashlib.sha384(raw).digest())


def _matches(raw: bytes, stored: str | None, dummy: bytes) -> bool:
    try:
        return bcrypt.checkpw(raw, stored.encode() if stored is not None else dummy) and stored is not None
    except ValueError:
        bcrypt.checkpw(raw, dummy)
        return False
