"""The environments that tests of the settings start from."""

from pathlib import Path

import pytest

from tests.conftest import SECRET_KEY
from todo_service.config.settings import Settings, SettingsError

GOOD = {"DATABASE_URL": "postgresql://u:p4ssw0rd@127.0.0.1/todo", "SECRET_KEY": SECRET_KEY}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings, in a project without `.env`."""
    monkeypatch.setattr("todo_service.config.settings.ROOT", tmp_path)
    for name in (*Settings.model_fields, "port"):
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def wrong(environment: pytest.MonkeyPatch, **variables: str) -> dict[str, str]:
    """The refused variables, each with its reason."""
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    for name, value in variables.items():
        assert name == "ENVIRONMENT" or len(value) < 10 or value not in str(refused.value)
    return dict(line.strip().split(": ", 1) for line in str(refused.value).splitlines()[1:])
