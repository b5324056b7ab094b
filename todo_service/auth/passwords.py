"""Passwords: hashed and checked with bcrypt, without stalling other requests.

bcrypt costs a quarter of a second of CPU on purpose. It runs in threads of its own, one less than there are cores, at a
lower priority and behind a bounded queue: a flood of sign-ins is answered by 503 and does not slow down task requests.
"""

import asyncio
import base64
import hashlib
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import bcrypt
from aiohttp import web

from todo_service.errors import Overloaded

BCRYPT_BYTES = 72
DUMMY = b"$2b$%02d$" + b"." * 53  # a hash that no password matches
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
QUEUE_SECONDS = 5  # about the longest wait in the queue
CHECKS_A_SECOND = 4  # of one thread at 12 rounds
NICENESS = 10
P = ParamSpec("P")
T = TypeVar("T")


def available_cores() -> int:
    """Return the cores of this process: fewer than the machine has under CPU affinity or a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text(encoding="utf-8").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


class BcryptPool:
    """The threads that run bcrypt, with a bounded queue.

    Args:
        rounds: bcrypt's cost for new hashes.
        threads: None for one less than there are cores.
    """

    def __init__(self, *, rounds: int, threads: int | None = None) -> None:
        threads = threads or max(1, available_cores() - 1)
        self.rounds = rounds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt", initializer=_lower_priority)
        self._places = self._free_places = threads * (1 + QUEUE_SECONDS * CHECKS_A_SECOND)
        self._at_once = threads

    @property
    def waiting(self) -> int:
        """How many hashes and checks wait for a thread."""
        return max(0, self._places - self._free_places - self._at_once)

    async def open(self) -> None:
        """Do nothing: the threads start with the first check."""

    async def close(self) -> None:
        """Let running checks end and drop the waiting ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, is_needed: Callable[[], bool], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread, unless it `is_needed` no longer when its turn comes.

        Raises:
            Overloaded: The queue is full, or the work is no longer needed.
        """
        if self._free_places == 0:
            raise Overloaded("Too many sign-ins at once. Wait as long as `Retry-After` says and try again.")
        future = self._threads.submit(_run_if_needed, is_needed, partial(work, *args, **kwargs))
        self._free_places -= 1
        future.add_done_callback(partial(_on_loop, asyncio.get_running_loop(), self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._free_places += 1


class PasswordHasher:
    """Hashes and checks passwords for one client; `is_connected` returns whether the client still waits."""

    def __init__(self, pool: BcryptPool, is_connected: Callable[[], bool] = lambda: True) -> None:
        self._pool = pool
        self._is_connected = is_connected

    async def hash(self, password: str) -> str:
        """Return the bcrypt hash to store. Raises `Overloaded` when the queue is full."""
        return await self._pool.run(self._is_connected, _hash, _candidates(password)[0], self._pool.rounds)

    async def check(self, password: str, stored: str | None) -> bool:
        """Return whether the password matches the stored hash. Raises `Overloaded` when the queue is full.

        A missing, a broken and an old cheaper hash cost the time of a wrong password.
        """
        return await self._pool.run(self._is_connected, _matches_any, _candidates(password), stored, self._pool.rounds)

    def is_weak(self, stored: str) -> bool:
        """Return whether a stored hash has fewer rounds than new ones."""
        return _rounds_of(stored) < self._pool.rounds


def _lower_priority() -> None:
    """Let task requests and PostgreSQL go before this thread; Linux has a priority for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


def _run_if_needed(is_needed: Callable[[], bool], work: Callable[[], T]) -> T:
    if not is_needed():
        raise Overloaded("The client has disconnected.")
    return work()


def _on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None], _: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


def _candidates(password: str) -> list[bytes]:
    """Return the password in NFC (RFC 8265 section 4.2), as it is hashed, and as it was typed, as it used to be."""
    return list(dict.fromkeys(map(_bcrypt_input, (unicodedata.normalize("NFC", password), password))))


def _bcrypt_input(password: str) -> bytes:
    """The bytes themselves, or the base64 of their digest (64 characters) if they are more than bcrypt accepts."""
    raw = password.encode()
    return raw if len(raw) <= BCRYPT_BYTES else base64.b64encode(hashlib.sha384(raw).digest())


def _hash(raw: bytes, rounds: int) -> str:
    return bcrypt.hashpw(raw, bcrypt.gensalt(rounds)).decode()


def _matches_any(candidates: list[bytes], stored: str | None, rounds: int) -> bool:
    return any(_matches(raw, stored, rounds) for raw in candidates)


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


BCRYPT_POOL = web.AppKey("bcrypt_pool", BcryptPool)
