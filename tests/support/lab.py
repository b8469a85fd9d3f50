"""Drives a real JupyterLab (or Notebook 7) in a real Chromium, on this machine alone.

    with LabServer(folder) as server, Browser() as browser:
        page = browser.open(server, "x.ipynb")
        page.run_all()
        page.button("Load once").click()

Never take an idle kernel for a finished cell: traffic of widgets flips it in the middle. Wait for what should be there.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import nbformat
from playwright.sync_api import Dialog, Locator, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
START = 60_000
"""Milliseconds for a page or a kernel to come up on a slow machine."""
WAIT = 60_000
"""Milliseconds for anything else; every wait ends as soon as what it waits for is there."""


class LabServer:
    """One `jupyter lab` on 127.0.0.1 with a token, stopped by its own process id."""

    def __init__(
        self, folder: Path, *, environment: dict[str, str] | None = None, disabled: Sequence[str] = ()
    ) -> None:
        """`disabled` names extensions of the page that are switched off."""
        self.folder = folder
        self._disabled = disabled
        self.token = secrets.token_hex(16)
        self._home = Path(tempfile.mkdtemp(prefix="nbguard-lab-"))
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> LabServer:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config, settings = self._home / "config", self._home / "config" / "lab" / "user-settings"
        self._write(
            settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings",
            {"fetchNews": "false", "checkForUpdates": False},
        )
        self._write(
            config / "labconfig" / "page_config.json", {"disabledExtensions": dict.fromkeys(self._disabled, True)}
        )
        environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(self._home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self._home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._home / "workspaces"),
            "IPYTHONDIR": str(self._home / "ipython"),
            **self._environment,
        }
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0",
                f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.folder}",
                "--LabApp.extension_manager=readonly", "--JupyterNotebookApp.expose_app_in_browser=True",
            ],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=(self._home / "log").open("wb"), start_new_session=True,
        )  # fmt: skip
        try:
            self._await_answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(15)
        shutil.rmtree(self._home, ignore_errors=True)

    def log(self) -> str:
        return (self._home / "log").read_text("utf-8", "replace")

    def url(self, path: str) -> str:
        mark = "&" if "?" in path else "?"
        return f"http://127.0.0.1:{self.port}/{path}{mark}token={self.token}"

    def _await_answer(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START / 1_000
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the notebook server ended: {self.log()[-2000:]}")
            try:
                with urllib.request.urlopen(self.url("api/status"), timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"the notebook server did not answer: {self.log()[-2000:]}")

    @staticmethod
    def _write(path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def notebook(self, name: str, cells: list[str], *, kernel: str = "python3") -> Path:
        """A notebook of code cells in the server's folder."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
        path = self.folder / name
        nbformat.write(book, str(path))
        return path


class Browser:
    """One headless Chromium with an empty profile."""

    def __enter__(self) -> Browser:
        self._driver = sync_playwright().start()
        self._browser = self._driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=_ARGUMENTS)
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._driver.stop()

    def open(
        self, server: LabServer, name: str, *, app: Literal["lab", "notebook"] = "lab", dark: bool = False,
        size: tuple[int, int] = (1300, 1000), scale: float = 1,
    ) -> Notebook:  # fmt: skip
        """A notebook with its kernel ready."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            device_scale_factor=scale,
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto(server.url(f"lab/tree/{name}?reset" if app == "lab" else f"notebooks/{name}"))
        opened = Notebook(page)
        opened.ready()
        if app == "lab":
            opened.theme("JupyterLab Dark" if dark else "JupyterLab Light")  # the server remembers the last one
        return opened

    def file(self, path: Path, *, dark: bool = False) -> Page:
        """A page from the disk."""
        context = self._browser.new_context(color_scheme="dark" if dark else "light")
        page = context.new_page()
        page.goto(path.as_uri())
        return page


_KERNEL_READY = """() => {
    const app = window.jupyterapp, widget = app && app.shell.currentWidget;
    const session = widget && widget.context && widget.context.sessionContext;
    const kernel = session && session.session && session.session.kernel;
    return !!kernel && kernel.status === 'idle' && kernel.connectionStatus === 'connected';
}"""
_CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"


_FORGE = """([comm_id, data, msg_id]) => {
    const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
    kernel.sendShellMessage({
        header: {
            msg_id, msg_type: 'comm_msg', session: kernel.clientId, username: kernel.username,
            date: new Date().toISOString(), version: '5.3',
        },
        parent_header: {}, metadata: {}, content: {comm_id, data}, channel: 'shell', buffers: [],
    }, false, true);
}"""


class Notebook:
    """One open notebook."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._root = ""
        self.messages: list[str] = []
        """What the page logged, errors and dialogs included."""
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("dialog", self._dialog)

    def _dialog(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # leaving a page with unsaved work, which is what the test wants
            dialog.accept()
            return
        self.messages.append(f"DIALOG {dialog.message}")
        dialog.dismiss()

    def close(self) -> None:
        """Leave without a question about unsaved work."""
        self.page.context.close()

    def ready(self) -> None:
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=START)
        self.page.wait_for_function(_KERNEL_READY, timeout=START)

    def theme(self, name: str) -> None:
        self.command("apputils:change-theme", {"theme": name})
        light = "false" if "Dark" in name else "true"
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached", timeout=WAIT)

    def command(self, name: str, arguments: dict[str, Any] | None = None, *, wait: bool = True) -> None:
        then = "done.then(() => {})" if wait else "null"
        call = f"([c, a]) => {{ const done = window.jupyterapp.commands.execute(c, a); return {then} }}"
        self.page.evaluate(call, [name, arguments or {}])

    def run_all(self) -> None:
        self.command("notebook:run-all-cells", wait=False)

    def run_cell(self, number: int) -> None:
        """Run one cell, counted from 0."""
        self.page.evaluate("n => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n }", number)
        self.command("notebook:run-cell", wait=False)

    def interrupt(self) -> None:
        """Press the stop button."""
        self.page.locator('[data-command="notebook:interrupt-kernel"]').first.click(timeout=WAIT)

    def save(self) -> None:
        self.command("docmanager:save")

    def button(self, text: str) -> Locator:
        return self.page.locator("button.jupyter-button", has_text=text).first

    def answer(self, text: str) -> None:
        """Click a button of the question, once it is there and a click counts."""
        button = self.button(text)
        button.wait_for(timeout=WAIT)
        self.rest()
        button.click(timeout=WAIT)

    def rest(self) -> None:
        """Let the time pass in which the gate takes no click."""
        self.page.wait_for_timeout(900)

    def cells(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(_CELLS)
        return found

    def outputs(self, number: int) -> str:
        """All that cell `number` shows, as text, HTML sources included."""
        return json.dumps(self.cells()[number].get("outputs", []), ensure_ascii=False)

    def printed(self, number: int) -> str:
        """What cell `number` printed."""
        outputs = self.cells()[number].get("outputs", [])
        texts = [o["text"] for o in outputs if o.get("output_type") == "stream" and o.get("name") == "stdout"]
        return "".join(t if isinstance(t, str) else "".join(t) for t in texts)

    def forge(self, role: str, data: dict[str, Any]) -> None:
        """Send a message for a control of the question that is or was shown, past the page's own widgets."""
        for cell in self.cells():
            for output in cell.get("outputs", []):
                view = output.get("data", {}).get("application/vnd.jupyter.widget-view+json")
                if view:
                    self._root = view["model_id"]
        comm_id = self._root.removesuffix("root") + role
        self.page.evaluate(_FORGE, [comm_id, data, secrets.token_hex(16)])

    def until(self, holds: Callable[[], bool], what: str, timeout: int = WAIT) -> None:
        """Wait until `holds`; raises AssertionError with the notebook's outputs."""
        end = time.monotonic() + timeout / 1_000
        while time.monotonic() < end:
            if holds():
                return
            self.page.wait_for_timeout(100)
        shown = "\n".join(self.outputs(n)[-1500:] for n in range(len(self.cells())))
        raise AssertionError(f"never came true: {what}\n{shown}\n{self.messages[-5:]}")

    def run_until(self, number: int, text: str) -> None:
        """Run a cell until it shows `text`: right after an interrupt a kernel throws away what is sent to it."""
        for _ in range(3):
            self.run_cell(number)
            try:
                self.until(lambda: text in self.outputs(number), f"cell {number} shows {text!r}", 5_000)
                return
            except AssertionError:
                continue
        self.see(number, text)

    def see(self, number: int, text: str) -> None:
        """Wait until cell `number` shows `text` somewhere in its outputs."""
        self.until(lambda: text in self.outputs(number), f"cell {number} shows {text!r}")
