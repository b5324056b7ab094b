"""`bin/reencrypt`: every key goes over to the first encryption key, none is lost, whatever happens meanwhile."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from tests.client import Api, User
from tests.commands.test_users import SETTINGS, run
from tests.conftest import run_sql, running_service, template_name, temporary_database
from tests.provider import AiProvider, ai_provider
from tests.routes.test_sessions import rows
from tests.routes.test_user_api_keys import CURRENT, acting_for, keeps_keys, store
from todo_service.auth.api_key_encryption import ApiKeyCipher, KeyContext
from todo_service.config.settings import ROOT

NEW, OLD, OLDEST, FOREIGN = (Fernet.generate_key().decode() for _ in range(4))
BOTH = f"{NEW},{OLD}"
ALL_ROWS = "SELECT user_id, provider, ciphertext FROM user_api_keys"
EVERYTHING = "SELECT t::text FROM user_api_keys AS t ORDER BY user_id"
Command = asyncio.subprocess.Process


@pytest_asyncio.fixture
async def own_url(postgres_url: str) -> AsyncIterator[str]:
    """A database of its own."""
    async with temporary_database(postgres_url, template=template_name()) as url:
        yield url


def key_of(number: int) -> str:
    return f"AIza-load-of-user-{number:06}"


async def seed(url: str, *encryption_keys: str, count: int, first: int = 0) -> None:
    """Keys of so many users, encrypted under the first of these."""
    box = ApiKeyCipher(encryption_keys)
    ids = [f"user {number:06}" for number in range(first, first + count)]
    sealed = [box.encrypt(key_of(first + number), KeyContext(user_id, "gemini")) for number, user_id in enumerate(ids)]
    await run_sql(url, "INSERT INTO users (id) VALUES " + ", ".join(f"('{user_id}')" for user_id in ids))
    values = ", ".join(
        f"('{user_id}', 'gemini', '{text}', 'valid', now())" for user_id, text in zip(ids, sealed, strict=True)
    )
    await run_sql(
        url,
        f"""INSERT INTO user_api_keys (user_id, provider, ciphertext, validation_status, last_validated_at)
        VALUES {values}""",
    )


async def opened(url: str, *encryption_keys: str) -> dict[str, str | None]:
    """What these keys alone can read, by user."""
    box = ApiKeyCipher(encryption_keys)
    return {row[0]: box.decrypt(row[2], KeyContext(row[0], row[1])) for row in await rows(url, ALL_ROWS)}


def expected(count: int, first: int = 0) -> dict[str, str | None]:
    return {f"user {number:06}": key_of(number) for number in range(first, first + count)}


async def reencrypt(url: str, keys: str = BOTH, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await run("reencrypt", *arguments, DATABASE_URL=url, ENCRYPTION_KEY=keys)


async def test_every_key_goes_over_to_the_first(own_url: str) -> None:
    await seed(own_url, OLD, count=450)
    await seed(own_url, NEW, count=30, first=450)
    await seed(own_url, OLDEST, count=20, first=480)
    dates = "SELECT user_id, validation_status, last_validated_at, created_at, updated_at FROM user_api_keys ORDER BY 1"
    before = await rows(own_url, dates)
    done = await reencrypt(own_url, f"{NEW},{OLD},{OLDEST}")
    assert (done.returncode, done.stdout) == (
        0, "470 API keys re-encrypted; 500 are under the first key now, each was read again\n",
    )  # fmt: skip
    assert "re-encrypting" in done.stderr
    assert await opened(own_url, NEW) == expected(500)
    assert await rows(own_url, dates) == before, "nothing else has changed"
    kept = await rows(own_url, EVERYTHING)
    again = await reencrypt(own_url, NEW, "--json")
    assert again.returncode == 0, "the old keys can go"
    assert json.loads(again.stdout) == {
        "reencrypted": 0, "under_first_key": 500, "under_older_keys": 0, "undecryptable": []
    }  # fmt: skip
    assert await rows(own_url, EVERYTHING) == kept


async def test_what_cannot_be_decrypted_is_named_and_left(own_url: str) -> None:
    await seed(own_url, OLD, count=5)
    await seed(own_url, FOREIGN, count=2, first=5)
    stolen = "(SELECT ciphertext FROM user_api_keys WHERE user_id = 'user 000000')"
    await run_sql(own_url, f"UPDATE user_api_keys SET ciphertext = {stolen} WHERE user_id = 'user 000001'")
    await run_sql(own_url, "UPDATE user_api_keys SET ciphertext = 'nonsense é' WHERE user_id = 'user 000002'")
    lost = [f"user 00000{number}" for number in (1, 2, 5, 6)]
    named = ", ".join(f"'{user_id}'" for user_id in lost)
    of_lost = f"SELECT ciphertext FROM user_api_keys WHERE user_id IN ({named}) ORDER BY user_id"
    before = await rows(own_url, of_lost)
    done = await reencrypt(own_url, BOTH, "--batch", "2")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "3 API keys re-encrypted; 3 are under the first key now, each was read again",
        *(f"cannot be decrypted: user {user_id}, gemini" for user_id in lost),
    ]
    assert done.stderr.splitlines()[-1].startswith("4 API keys cannot be decrypted and stay as they are")
    assert await rows(own_url, of_lost) == before
    again = await reencrypt(own_url, BOTH, "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["undecryptable"] == [{"user_id": user_id, "provider": "gemini"} for user_id in lost]
    found = await reencrypt(own_url, f"{BOTH},{FOREIGN}", "--json")
    assert (found.returncode, json.loads(found.stdout)["reencrypted"]) == (1, 2)


async def test_a_restored_backup_is_read_with_the_keys_of_its_time(
    own_url: str, postgres_url: str, tmp_path: Path
) -> None:
    await seed(own_url, OLD, count=3)
    file = str(tmp_path / "todo.dump")
    assert (await run("backup", file, DATABASE_URL=own_url)).returncode == 0
    async with temporary_database(postgres_url) as url:
        assert (await run("restore", file, DATABASE_URL=url)).returncode == 0
        assert await opened(url, NEW, OLD) == expected(3)
        async with ai_provider() as provider:
            async with running_service(keeps_keys(url, provider, encryption_key=BOTH)) as api:
                read = await api.get(CURRENT, headers=acting_for("user 000001"))
                assert read.body["plaintext_key"] == key_of(1)
            async with running_service(keeps_keys(url, provider, encryption_key=NEW)) as api:
                lost = await api.get(CURRENT, headers=acting_for("user 000001"))
                assert lost.body["validation_status"] == "undecryptable"
    contents = await asyncio.to_thread(Path(file).read_bytes)
    assert key_of(1).encode() not in contents


async def test_two_at_once_do_no_harm(own_url: str) -> None:
    await seed(own_url, OLD, count=600)
    done = await asyncio.gather(*(reencrypt(own_url, BOTH, "--batch", size, "--json") for size in ("7", "50")))
    assert [one.returncode for one in done] == [0, 0]
    told = [json.loads(one.stdout) for one in done]
    assert sum(one["reencrypted"] for one in told) == 600
    assert [one["under_first_key"] for one in told] == [600, 600]
    assert await opened(own_url, NEW) == expected(600)


async def test_an_empty_table_is_no_work(own_url: str) -> None:
    done = await reencrypt(own_url)
    assert (done.returncode, done.stdout[:26]) == (0, "0 API keys re-encrypted; 0")


@pytest.mark.parametrize(
    ("arguments", "keys", "said"),
    [
        (["--batch", "0"], BOTH, "--batch must be"), (["now"], BOTH, "see --help"),
        ([], "", "ENCRYPTION_KEY: must be set"), ([], f"{NEW},{OLD[:-2]}", "ENCRYPTION_KEY: entry 2"),
    ],
    ids=["batch", "word", "absent", "broken"],
)  # fmt: skip
async def test_misuse_is_2_and_repeats_no_key(own_url: str, arguments: list[str], keys: str, said: str) -> None:
    done = await reencrypt(own_url, keys, *arguments)
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True)
    assert not any(key[:10] in done.stderr for key in (NEW, OLD))


async def begun(url: str, *arguments: str) -> Command:
    """A run whose end is not waited for."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "todo_service.commands", "reencrypt", *arguments, cwd=ROOT,
        env=os.environ | SETTINGS | {"DATABASE_URL": url, "ENCRYPTION_KEY": BOTH},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


async def killed_half_way(url: str, count: int) -> None:
    """Begin, and end it at once when some rows are done."""
    process = await begun(url, "--batch", "1")
    async with asyncio.timeout(20):
        while True:
            current = [key for user_id, key in (await opened(url, NEW)).items() if user_id.startswith("user ") and key]
            if len(current) > count // 10:
                break
    process.kill()
    await process.communicate()
    current = [key for user_id, key in (await opened(url, NEW)).items() if user_id.startswith("user ") and key]
    assert 0 < len(current) < count, "it was half-way"


class Customer:
    """Somebody who stores and deletes keys all the time and knows what was acknowledged."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.key: str | None = None
        self.changes = 0

    async def go_on(self, api: Api) -> None:
        while True:
            if self.changes % 4 == 3:
                assert (await api.delete(CURRENT, as_=self.user)).status == 200
                self.key = None
            else:
                wanted = f"AIza-load-{self.user.id[-12:]}-{self.changes}"
                assert (await store(api, wanted, self.user)).status == 201
                self.key = wanted
            self.changes += 1
            read = await api.get(CURRENT, headers=acting_for(self.user.id))
            assert read.body["plaintext_key"] == self.key


async def test_no_key_is_lost_under_load_and_with_a_kill_half_way(own_url: str) -> None:
    count = 400
    async with ai_provider() as provider:
        customers = await moving_in(own_url, provider, 6)
        await seed(own_url, OLD, count=count)
        async with running_service(keeps_keys(own_url, provider, encryption_key=BOTH)) as api:
            busy = [asyncio.create_task(customer.go_on(api)) for customer in customers]
            await killed_half_way(own_url, count)
            done = await reencrypt(own_url, BOTH, "--batch", "3", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["reencrypted"] < count, "it went on where it was"
            assert not any(task.done() for task in busy)
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
    assert sum(customer.changes for customer in customers) > 50
    after = await opened(own_url, NEW)
    assert {user_id: key for user_id, key in after.items() if user_id.startswith("user ")} == expected(count)
    assert None not in after.values(), "the old key opens nothing any more"


async def moving_in(url: str, provider: AiProvider, count: int) -> list[Customer]:
    """Customers whose first keys are under the old encryption key."""
    async with running_service(keeps_keys(url, provider, encryption_key=OLD)) as api:
        customers = [Customer(await api.new_user()) for _ in range(count)]
        for customer in customers:
            customer.key = f"AIza-load-{customer.user.id[-12:]}-0"
            assert (await store(api, customer.key, customer.user)).status == 201
            customer.changes = 1
    return customers


async def test_a_replica_that_still_uses_the_old_key_is_noticed(own_url: str) -> None:
    await seed(own_url, OLD, count=300)
    async with ai_provider() as provider:
        (customer,) = await moving_in(own_url, provider, 1)
        async with running_service(keeps_keys(own_url, provider, encryption_key=f"{OLD},{NEW}")) as api:
            busy = asyncio.create_task(customer.go_on(api))
            for _ in range(10):
                done = await reencrypt(own_url, BOTH, "--batch", "5")
                if done.returncode:
                    break
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)
    assert done.returncode == 1
    assert "restart every replica" in done.stderr.splitlines()[-1]
