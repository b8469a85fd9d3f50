"""A real kernel over real sockets, and a page that is only messages.

with Kernel("python3") as kernel:
    cell = kernel.run("gate.ask(…)")
    cell.question()
    cell.click("once")
    assert "accepted" in cell.finish()
"""

from __future__ import annotations

import os
import queue
import time
from typing import Any

from jupyter_client.manager import KernelManager

WAIT = 20.0
"""Seconds for anything to happen; every wait ends as soon as it has."""

GRACE = 0.75
"""Seconds to let pass before a click counts."""


class Kernel:
    """One kernel and a client that takes input."""

    def __init__(self, name: str, *, page: str = "notebook.ipynb", **environment: str) -> None:
        """`page` is the notebook that Jupyter's server would name; empty for front-ends without one."""
        self.name = name
        self._environment = {**environment, "JPY_SESSION_NAME": page}

    def __enter__(self) -> Kernel:
        self.manager = KernelManager(kernel_name=self.name)
        self.manager.start_kernel(env={**os.environ, **self._environment})
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str, *, allow_stdin: bool = True) -> Cell:
        while self.client.stdin_channel.msg_ready():  # a prompt of a cell before, which was interrupted
            self.client.get_stdin_msg(timeout=1)
        return Cell(self, self.client.execute(code, allow_stdin=allow_stdin))

    def send(self, comm_id: str, data: dict[str, Any], kind: str = "comm_msg") -> dict[str, Any]:
        """A message for a comm, as a page would send it."""
        message: dict[str, Any] = self.client.session.msg(kind, {"comm_id": comm_id, "data": data})
        self.client.shell_channel.send(message)
        return message


class Cell:
    """One running cell: what it has shown so far."""

    def __init__(self, kernel: Kernel, request: str) -> None:
        self.kernel, self.request = kernel, request
        self.controls: dict[str, str] = {}
        """Role → comm id of the question that was shown last."""
        self.shown: dict[str, dict[str, Any]] = {}
        """Display id → what stands there now."""
        self.printed = ""
        self.error = ""
        self.states: list[tuple[str, dict[str, Any]]] = []
        """What widgets said to the page, and in answer to which message."""
        self.statuses: list[tuple[str, str]] = []
        self.done = False

    def step(self, timeout: float) -> bool:
        """Take one message from the kernel; whether there was one."""
        try:
            message = self.kernel.client.get_iopub_msg(timeout=timeout)
        except queue.Empty:
            return False
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open" and content["comm_id"].startswith("nbguard-"):
            self.controls[content["comm_id"].split("-", 4)[4]] = content["comm_id"]
        elif kind == "comm_msg":
            self.states.append((message["parent_header"].get("msg_id", ""), content))
        elif kind in ("display_data", "update_display_data"):
            self.shown[content.get("transient", {}).get("display_id", message["header"]["msg_id"])] = content["data"]
        elif kind == "stream":
            self.printed += content["text"]
        elif kind == "error":
            self.error = f"{content['ename']}: {content['evalue']}"
        elif kind == "status":
            parent = message["parent_header"].get("msg_id", "")
            self.statuses.append((parent, content["execution_state"]))
            self.done = self.done or (parent == self.request and content["execution_state"] == "idle")
        return True

    def question(self) -> None:
        """Wait until a widget is shown and a click counts."""
        self.until(lambda: any("application/vnd.jupyter.widget-view+json" in d for d in self.shown.values()))
        time.sleep(GRACE)

    def click(self, role: str) -> dict[str, Any]:
        return self.kernel.send(self.controls[role], {"method": "custom", "content": {"event": "click"}})

    def tick(self, number: int, value: bool = True) -> None:
        self.kernel.send(self.controls[f"tick-{number}"], {"method": "update", "state": {"value": value}})

    def handled(self, message: dict[str, Any]) -> None:
        """Wait until the kernel says that it is done with `message`."""
        self.until(lambda: (message["header"]["msg_id"], "idle") in self.statuses)

    def type(self, text: str) -> str:
        """Answer the next prompt; returns it."""
        while True:
            try:
                asked = self.kernel.client.get_stdin_msg(timeout=0.1)
            except queue.Empty:
                self.step(0.1)
                assert not self.done, f"no prompt came: {self.printed} {self.error}"
                continue
            self.kernel.client.input(text)
            return str(asked["content"]["prompt"])

    def finish(self) -> str:
        """Wait for the end of the cell; all that it printed."""
        self.until(lambda: self.done)
        return self.printed

    def until(self, holds: Any) -> None:
        end = time.monotonic() + WAIT
        while not holds():
            seen = [str(data.get("text/plain"))[:120] for data in self.shown.values()]
            assert time.monotonic() < end, f"waited too long: {self.printed} {self.error} {seen}"
            self.step(0.2)
