"""How passwords are kept: bcrypt of all of it, in a bounded number of threads."""

import asyncio
import base64
import hashlib
import os
import subprocess
import sys
import threading
import time
import unicodedata

import bcrypt
import pytest

from todo_service.auth.passwords import NICENESS, BcryptPool, PasswordHasher
from todo_service.config.settings import ROOT
from todo_service.errors import Overloaded


async def test_up_to_72_bytes_are_plain_bcrypt_and_more_are_digested_first() -> None:
    pool = BcryptPool(rounds=4)
    passwords = PasswordHasher(pool)
    for plain in ("short one", "x" * 72, "é" * 36):
        assert bcrypt.checkpw(plain.encode(), (await passwords.hash(plain)).encode())
    for long in ("x" * 73, "é" * 37, "ß" * 512):
        digest = base64.b64encode(hashlib.sha384(long.encode()).digest())
        stored = await passwords.hash(long)
        assert bcrypt.checkpw(digest, stored.encode())
        assert await passwords.check(long, stored)
        assert not await passwords.check(long[:-1], stored)
    await pool.close()


async def test_a_password_hashed_before_it_was_composed_still_matches() -> None:
    apart = unicodedata.normalize("NFD", "Grüße 1234")
    stored = bcrypt.hashpw(apart.encode(), bcrypt.gensalt(4)).decode()
    pool = BcryptPool(rounds=4)
    passwords = PasswordHasher(pool)
    assert await passwords.check(apart, stored)
    assert not await passwords.check(apart + "x", stored)
    await pool.close()


async def test_a_password_with_nul_is_hashed_in_full() -> None:
    pool = BcryptPool(rounds=4)
    passwords = PasswordHasher(pool)
    stored = await passwords.hash("ab\0cdefgh")
    assert await passwords.check("ab\0cdefgh", stored)
    assert not await passwords.check("ab", stored)
    await pool.close()


async def test_without_a_good_hash_nothing_matches() -> None:
    pool = BcryptPool(rounds=4)
    passwords = PasswordHasher(pool)
    for stored in (None, "", "nonsense", "$2b$04$", "é"):
        assert not await passwords.check("", stored)
    await pool.close()


async def test_threads_of_bcrypt_go_after_all_others() -> None:
    pool = BcryptPool(rounds=4, threads=2)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    found = await asyncio.gather(*(pool.run(lambda: True, _priority) for _ in range(4)))
    assert set(found) == {NICENESS}
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_service_of_a_lower_priority_checks_passwords_too() -> None:
    script = """
import asyncio, os, sys
from todo_service.auth.passwords import BcryptPool, PasswordHasher
if os.getuid() == 0:
    os.setuid(65534)
hashed = asyncio.run(PasswordHasher(BcryptPool(rounds=4)).hash("a password"))
print(hashed[:4])
"""
    command = ["nice", "-n", "15", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "$2b$\n", done.stderr


def _priority() -> int:
    time.sleep(0.01)
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_a_full_queue_refuses_and_empties_again() -> None:
    pool = BcryptPool(rounds=8, threads=1)
    passwords = PasswordHasher(pool)
    outcomes = await asyncio.gather(*(passwords.hash("pass word") for _ in range(300)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert len(refused) + sum(isinstance(outcome, str) for outcome in outcomes) == 300
    assert refused
    await asyncio.sleep(0)
    assert await passwords.hash("pass word")
    await pool.close()


async def test_callers_who_gave_up_leave_their_place_in_the_queue() -> None:
    pool = BcryptPool(rounds=8, threads=1)
    passwords = PasswordHasher(pool)
    places = pool._free_places
    waiting = [asyncio.ensure_future(passwords.hash("pass word")) for _ in range(places)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await asyncio.gather(*(passwords.hash("pass word") for _ in range(places - 1)))
    assert pool._free_places == places
    await pool.close()


@pytest.mark.parametrize(("rounds", "weak"), [(4, True), (5, False), (6, False)])
async def test_fewer_rounds_than_now_are_weak(rounds: int, weak: bool) -> None:
    pool = BcryptPool(rounds=5)
    passwords = PasswordHasher(pool)
    assert passwords.is_weak(bcrypt.hashpw(b"x", bcrypt.gensalt(rounds)).decode()) is weak
    await pool.close()
