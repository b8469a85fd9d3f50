"""The loopback Hub as a process of its own.

    with Hub(Path("hub")) as hub:
        os.environ |= hub.environment(Path("cache"))
        hub.store.push("demo/tiny", {"config.json": b"{}"})

A process of its own, so that what guards the notebook's process never meets the server's threads.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from loopback_hub.store import Store

STOP_SECONDS = 10


class Hub:
    """A server process over the folder `root`. The port is taken at once, the process starts with `start()`.

    Until then a client is refused at once (the socket is bound, nobody listens), so an address can be put into an
    environment before anything is needed from it.
    """

    def __init__(self, root: Path, port: int = 0) -> None:
        self.store = Store(root)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def environment(self, home: Path) -> dict[str, str]:
        """The variables that point huggingface_hub and transformers here, with `home` as their cache."""
        return environment(self.address, home)

    def start(self) -> Hub:
        """Returns once the server answers. Raises RuntimeError where it ended instead."""
        if self._process is not None:
            return self
        number = self._socket.fileno()
        examples = str(Path(__file__).resolve().parent.parent)
        search = os.pathsep.join([examples, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loopback_hub", "--root", str(self.store.root), "--fd", str(number)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=(number,),
            env={**os.environ, "PYTHONPATH": search},
            text=True,
        )
        assert self._process.stdout is not None
        if self.address not in self._process.stdout.readline():
            self.stop()
            raise RuntimeError("The loopback Hub did not start.")
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._socket.close()

    def __enter__(self) -> Hub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def demo() -> str:
    """Bring up the demonstration Hub for this process, and end it with it. Returns its address.

    Only before huggingface_hub is imported, because it reads the address once. Where HF_ENDPOINT names a Hub already,
    nothing happens.
    """
    named = os.environ.get("HF_ENDPOINT")
    if named:
        return named
    if "huggingface_hub" in sys.modules:
        raise RuntimeError("Bring the demonstration Hub up before huggingface_hub is imported.")
    from loopback_hub.catalogue import REPOSITORIES, introduce, offer

    scratch = Path(tempfile.mkdtemp(prefix="loopback-hub-"))
    hub = Hub(scratch / "hub").start()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atexit.register(hub.stop)
    os.environ.update(hub.environment(scratch / "huggingface"))
    for repo_id in REPOSITORIES:
        offer(hub.store, repo_id)
    introduce(hub.store)
    return hub.address


def environment(address: str, home: Path) -> dict[str, str]:
    """What to set before huggingface_hub is imported: the Hub's address, a cache of its own, and no other network."""
    return {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }
