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
DUMMY = b"$2b$%02d$" + b"." * 53  # the hash of no password
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
QUEUE_SECONDS = 5  # about the longest wait for a turn
CHECKS_A_SECOND = 4  # of one thread at 12 rounds
P = ParamSpec("P")
T = TypeVar("T")


def _always() -> bool:
    return True


def available_cores() -> int:
    """The cores this process may use: fewer than the machine has under CPU affinity or a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


class Passwords:
    """Hashes and checks passwords with bcrypt at `rounds`, in `threads` (None: one less than cores); `close` it.

    `wanted` is asked when a waiting caller's turn comes: work for somebody who has gone away is not done.
    """

    def __init__(self, *, rounds: int, threads: int | None = None) -> None:
        threads = threads or max(1, available_cores() - 1)
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._places = self._free_places = threads * (1 + QUEUE_SECONDS * CHECKS_A_SECOND)
        self._at_once = threads

    async def hash(self, password: str, *, wanted: Callable[[], bool] = _always) -> str:
        """The bcrypt hash to store. Raises `Overloaded` when the queue is full."""
        return await self._in_turn(wanted, _hash, _bcrypt_input(password), self._rounds)

    async def check(self, password: str, stored: str | None, *, wanted: Callable[[], bool] = _always) -> bool:
        """Whether this is the password of the stored hash. Raises `Overloaded` when the queue is full.

        A missing, a broken and an old cheaper hash cost the time of a wrong password.
        """
        return await self._in_turn(wanted, _matches, _bcrypt_input(password), stored, self._rounds)

    def is_weak(self, stored: str) -> bool:
        """Whether a stored hash was made with fewer rounds than are used now."""
        return _rounds_of(stored) < self._rounds

    @property
    def waiting(self) -> int:
        """How many hashes and checks wait for a thread."""
        return max(0, self._places - self._free_places - self._at_once)

    def close(self) -> None:
        """Let running checks end and drop the waiting ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, wanted: Callable[[], bool], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._free_places == 0:
            raise Overloaded("Too many sign-ins at once. Wait as long as `Retry-After` says and try again.")
        self._free_places -= 1
        future = self._threads.submit(_if_wanted, wanted, partial(work, *args, **kwargs))
        future.add_done_callback(partial(_on_loop, asyncio.get_running_loop(), self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._free_places += 1


def _if_wanted(wanted: Callable[[], bool], work: Callable[[], T]) -> T:
    if not wanted():
        raise Overloaded("Whoever asked has gone away.")
    return work()


def _on_loop(loop: asyncio.AbstractEventLoop, done: Callable[[], None], _: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(done)


def _bcrypt_input(password: str) -> bytes:
    """What bcrypt is given: the bytes themselves, or for more than it can take a digest of them in 64 characters."""
    raw = password.encode()
    return raw if len(raw) <= BCRYPT_BYTES else base64.b64encode(hashlib.sha384(raw).digest())


def _hash(raw: bytes, rounds: int) -> str:
    return bcrypt.hashpw(raw, bcrypt.gensalt(rounds)).decode()


def _matches(raw: bytes, stored: str | None, rounds: int) -> bool:
    try:
        if bcrypt.checkpw(raw, (stored or "").encode()):
            return True
        spent = _rounds_of(stored or "")
    except ValueError:  # no hash, or not one of bcrypt's
        bcrypt.checkpw(raw, DUMMY % rounds)
        return False
    for cost in range(spent, rounds):  # 2^spent and these are 2^rounds together
        bcrypt.checkpw(raw, DUMMY % cost)
    return False


def _rounds_of(stored: str) -> int:
    return int(stored.split("$")[2])
