"""Messages name scripts as they are called: in a checkout by their paths, in an installed package by their programs."""

import pytest

from todo_service.config.script_names import as_installed, named_here


@pytest.mark.parametrize(
    ("message", "installed"),
    [
        ("Run bin/migrate up.", "Run todo-service-migrate up."),
        ("ENCRYPTION_KEY=new,old bin/reencrypt", "ENCRYPTION_KEY=new,old todo-service-reencrypt"),
        ("`bin/users list` shows them", "`todo-service-users list` shows them"),
        ("SERVER_PORT=9000 bin/serve", "SERVER_PORT=9000 todo-service"),
        ("/srv/bin/todo.dump is there already", "/srv/bin/todo.dump is there already"),
        ("bin/todo.dump is there already", "bin/todo.dump is there already"),
        ("pip install --require-hashes -r requirements-serve.txt", "pip install 'todo-service[serve]'"),
    ],
)
def test_names(message: str, installed: str) -> None:
    assert as_installed(message) == installed
    assert named_here(message) == message, "this is a checkout"
