"""What development makes for itself."""

import asyncio
import stat
from pathlib import Path

from tests.conftest import SECRET_KEY
from todo_service.commands.development import prepared
from todo_service.config.settings import Settings


def settings(folder: Path, **others: object) -> Settings:
    return Settings.model_validate({"data_dir": folder, "database_url": "postgresql://u@127.0.0.1/d", **others})


def test_a_secret_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    keys = []
    for _ in range(2):
        with prepared(settings(folder)) as complete:
            keys.append(complete.signing_keys[0])
    assert keys[0] == keys[1]
    assert len(keys[0]) == 64
    assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["secret_key"]


def test_two_starts_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    def start(_: int) -> str:
        with prepared(settings(tmp_path / "data")) as complete:
            return complete.signing_keys[0]

    async def at_once() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(start, n) for n in range(8)))

    assert len(set(asyncio.run(at_once()))) == 1


def test_what_is_given_is_left_alone(tmp_path: Path) -> None:
    given = settings(tmp_path / "data", secret_key=SECRET_KEY)
    with prepared(given) as complete:
        assert complete == given
    assert not (tmp_path / "data").exists()
