"""The database and the secret that development creates for itself, kept in the data folder."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from todo_service.config.settings import Settings
from todo_service.postgres import embedded


@contextmanager
def prepared(settings: Settings, *, join: bool = False) -> Iterator[Settings]:
    """Yield the settings with `database_url` and a secret filled in.

    Without a `DATABASE_URL` an embedded PostgreSQL runs until the end of the block.

    Args:
        join: Use the embedded PostgreSQL of a running service, which is an error otherwise.

    Raises:
        embedded.EmbeddedError: The data folder cannot hold them.
    """
    in_development = settings.environment == "development"
    if in_development and settings.secret_key is None and settings.better_auth_secret is None:
        settings = settings.model_copy(update={"secret_key": SecretStr(_kept_secret(settings.data_dir))})
    if settings.database_url is not None:
        yield settings
        return
    folder = settings.data_dir / "postgres"
    with ExitStack() as server:
        try:
            url = server.enter_context(embedded.running(folder))
        except embedded.InUseError:
            if not join:
                raise
            url = embedded.address(folder)
        yield settings.model_copy(update={"database_url": SecretStr(url)})


def _kept_secret(folder: Path) -> str:
    """Return the secret of this data folder, created on first use and readable by its owner alone."""
    try:
        return _secret_of(folder)
    except OSError as error:
        raise embedded.EmbeddedError(
            f"No SECRET_KEY is set and none can be kept in {folder}: {error.strerror}. Set SECRET_KEY or DATA_DIR."
        ) from error


def _secret_of(folder: Path) -> str:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "secret_key"
    if not path.exists():
        fresh = folder / f"secret_key.{secrets.token_hex(8)}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was faster: its secret is used
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text()
