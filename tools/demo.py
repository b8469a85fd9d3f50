"""The demonstration: a Hub of honest and hostile models on this machine, and JupyterLab on the quickstart notebook.

    make demo                  # prints an address to open; Ctrl-C stops everything
    make demo HEADLESS=1       # runs the same notebook without a browser and prints what a person would see

Everything lies under `.demo/`, which is made anew each time: a copy of the notebook, the downloaded models, approvals
and the audit log. Both servers listen on 127.0.0.1 only. The hostile models carry a harmless payload that writes one
file; after a headless run that file must not be there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
NOTEBOOK = Path("examples") / "quickstart.ipynb"
MARK = ".nbguard-demo"
"""A file that says: this folder may be emptied."""
START_SECONDS = 90
CELL_SECONDS = 600
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class DemoError(Exception):
    """Something that the demonstration needs did not come up. The message is one sentence for the person."""


def environment(home: Path) -> dict[str, str]:
    """The variables under which Hub, Jupyter and kernels run: this machine only, and nothing of the person's own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "NBGUARD_", "JUPYTER_", "TRANSFORMERS_"))}
    env |= {
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "NBGUARD_DATA_DIR": str(home / "data"),
        "NBGUARD_CONFIG": str(home / "config.toml"),
        "NBGUARD_DEMO_MARKER": str(home / "payload-ran"),
        "NBGUARD_DEMO_CACHE": str(ROOT / ".venv" / "demo-models"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }
    here = [str(ROOT / "examples"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env["PYTHONPATH"] = os.pathsep.join(here)
    return env


def prepare(home: Path) -> None:
    """Start from an empty `.demo/` with a copy of the notebook, so that playing with it leaves the checkout alone."""
    if not (ROOT / NOTEBOOK).is_file():
        raise DemoError(f"{NOTEBOOK} is missing")
    if home.exists() and any(home.iterdir()) and not (home / MARK).exists():
        raise DemoError(f"{home} is not empty and not of an earlier demonstration; it is left alone")
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("hf", "data", "ipython", "jupyter", "jupyter-data", "runtime", "log", str(NOTEBOOK.parent)):
        (home / folder).mkdir(parents=True)
    page = home / "jupyter" / "labconfig" / "page_config.json"
    page.parent.mkdir()
    page.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    (home / MARK).touch()
    (home / "config.toml").touch()
    shutil.copy2(ROOT / NOTEBOOK, home / NOTEBOOK)


@contextmanager
def process(name: str, command: list[str], env: dict[str, str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child with its output in `HOME/log/NAME.txt`; ended, by its own id, when the block is left."""
    with (home / "log" / f"{name}.txt").open("wb") as log:
        child = subprocess.Popen(
            command,
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal reaches this script alone, which then ends both in order
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for(what: str, child: subprocess.Popen[bytes], home: Path, ready: Callable[[Path], str | None]) -> str:
    """What `ready(home)` gives once it is not None. Raises DemoError when the child ends first or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = ready(home)
        if found is not None:
            return found
        if child.poll() is not None:
            break
        time.sleep(0.1)
    log = (home / "log" / f"{what}.txt").read_text(encoding="utf-8", errors="replace")
    raise DemoError(f"the {what} did not start; its output was:\n{log[-4000:]}")


def hub_address(home: Path) -> str | None:
    found = ADDRESS.search((home / "log" / "hub.txt").read_text(encoding="utf-8", errors="replace"))
    return found[0] if found else None


def lab_address(home: Path) -> str | None:
    """The address of the notebook in the running Lab, once it answers."""
    for info in (home / "runtime").glob("jpserver-*.json"):
        try:
            server = json.loads(info.read_text(encoding="utf-8"))
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{server['url']}api", timeout=5):
                return f"{server['url']}lab/tree/{NOTEBOOK.as_posix()}?token={server['token']}"
        except (json.JSONDecodeError, urllib.error.URLError, TimeoutError, KeyError):
            continue
    return None


def lab_command(home: Path) -> list[str]:
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.open_browser": "False",
        "ServerApp.root_dir": str(home),
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{k}={v}" for k, v in options.items())]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return command


def has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def interactive(home: Path, env: dict[str, str], hub: subprocess.Popen[bytes], open_browser: bool) -> int:
    with process("lab", lab_command(home), env, home) as lab:
        address = wait_for("lab", lab, home, lab_address)
        print(f"\n  Hub of demo models   {env['HF_ENDPOINT']}")
        print(f"  Notebook             {address}\n")
        print("Open the notebook's address and run the cells. Ctrl-C here stops everything.", flush=True)
        if open_browser and has_display():
            webbrowser.open(address)
        while True:
            for name, child in (("hub", hub), ("lab", lab)):
                if child.poll() is not None:
                    raise DemoError(f"the {name} ended by itself; see {home / 'log' / name}.txt")
            time.sleep(0.5)


def show(cell: Any) -> None:
    """One executed cell, as text: what was typed, and what came out."""
    print("\n" + "─" * 100)
    if cell.cell_type == "markdown":
        print(cell.source)
        return
    print("\n".join(f"  > {line}" for line in cell.source.splitlines()))
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            text = output.text
        elif output.output_type == "error":
            text = "\n".join(output.traceback)
        else:
            text = output.data.get("text/plain", "")
        if text.strip():
            print("\n" + ANSI.sub("", text).rstrip())
    sys.stdout.flush()


def headless(home: Path, env: dict[str, str]) -> int:
    """Execute the notebook as papermill or CI would, and print it. 0 when it went through and no payload ran."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    os.environ.clear()
    os.environ.update(env)
    notebook = nbformat.read(home / NOTEBOOK, as_version=4)
    failure = ""
    reports = 0

    def text_cell(cell: Any, cell_index: int) -> None:
        if cell.cell_type != "code":
            show(cell)

    def code_cell(cell: Any, cell_index: int, execute_reply: Any) -> None:
        show(cell)

    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # it would warn of its loopback transport
        resources={"metadata": {"path": str(home / NOTEBOOK.parent)}},
        on_cell_start=text_cell,
        on_cell_executed=code_cell,
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
        failure = ANSI.sub("", str(problem)).strip().splitlines()[-1]
    nbformat.write(notebook, home / NOTEBOOK)
    for cell in notebook.cells:
        reports += sum("nbguard" in json.dumps(o) for o in cell.get("outputs", ()))
    print("\n" + "─" * 100)
    marker = Path(env["NBGUARD_DEMO_MARKER"])
    if marker.exists():
        failure = "a payload ran"
    elif not failure and not reports:
        failure = "nbguard reported nothing"
    if failure:
        print(f"The demonstration FAILED: {failure}")
        return 1
    print("The notebook ran to its end; hostile models were stopped, and no payload ran.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/demo.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--headless", action="store_true", help="run the notebook without a browser and print it")
    parser.add_argument("--no-open", action="store_true", help="print the address, do not open a browser")
    parser.add_argument("--folder", type=Path, default=HOME, help="emptied, then used for everything (default: .demo)")
    chosen = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may start its background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        home: Path = chosen.folder.resolve()
        prepare(home)
        env = environment(home)
        with process("hub", [sys.executable, "-m", "loopback_hub"], env, home) as hub:
            env["HF_ENDPOINT"] = wait_for("hub", hub, home, hub_address)
            return headless(home, env) if chosen.headless else interactive(home, env, hub, not chosen.no_open)
    except DemoError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
