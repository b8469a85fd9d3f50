"""Who is on the other side: a person with a page, a person with a terminal, or nobody.

    frontend()      # "widget", "terminal" or "none"

`NBGUARD_FACE` can ask for less than there is: `text` puts the question as text to be typed, `none` never asks.
It cannot make up a person where there is none.
"""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import Any, Literal

FACE_VARIABLE = "NBGUARD_FACE"


def shell() -> Any | None:
    """The IPython shell that runs this code, without importing IPython where nobody else did."""
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)
    return get() if get is not None else None


def kernel() -> Any | None:
    """The Jupyter kernel that runs this code, or None."""
    return getattr(shell(), "kernel", None)


def parent(running: Any) -> dict[str, Any]:
    """The request that the kernel is serving; empty where it cannot be told."""
    try:
        message = running.get_parent("shell")
    except (AttributeError, LookupError, TypeError):
        return {}
    return message if isinstance(message, dict) else {}


def accepts_input(running: Any) -> bool:
    """Whether the client that sent the running cell can be asked something.

    Programs that execute notebooks (nbclient, papermill) send `allow_stdin: false`. A click on a person's own widget
    carries no such field; what the last cell said holds for it.
    """
    content = parent(running).get("content")
    allowed = content.get("allow_stdin") if isinstance(content, dict) else None
    if allowed is None:
        allowed = getattr(running, "_allow_stdin", False)
    return allowed is True


def page_is_jupyters() -> bool:
    """Whether the page is one of Jupyter's own: its server names the notebook for the kernels that it starts.

    Everyone else's (VS Code, consoles, what nobody knows) may or may not be able to show controls.
    """
    return bool(os.environ.get("JPY_SESSION_NAME"))


def _in_colab() -> bool:
    """Colab has a page and a transport of its own; what is typed reaches a busy kernel there, a click may not."""
    return "google.colab" in sys.modules


def _at_a_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # no standard stream at all, or a closed one
        return False


def frontend() -> Literal["widget", "terminal", "none"]:
    """Which face can ask a question here and now.

    A kernel whose client takes input gets the widget; terminal IPython and an interactive Python get the terminal.
    A script (`python script.py`, `ipython script.py`) gets none even at a terminal, for it may have been left to
    itself, unless `NBGUARD_FACE=text` says that someone is there. `%run script.py` is part of the session it runs in.
    """
    wish = os.environ.get(FACE_VARIABLE, "").strip().lower()
    if wish == "none":
        return "none"
    as_text = wish in ("text", "terminal")
    running = kernel()
    if running is not None:
        if not accepts_input(running):
            return "none"
        return "terminal" if as_text or _in_colab() else "widget"
    if not _at_a_terminal() or _prompt_is_open():
        return "none"
    if _interactive() or as_text:
        return "terminal"
    return "none"


def _interactive() -> bool:
    """Whether a person types to this process: IPython's prompt, or Python's. `ipython script.py` is a script."""
    running = shell()
    if running is not None:
        return getattr(getattr(running, "parent", None), "interact", True) is not False
    return hasattr(sys, "ps1")


def _prompt_is_open() -> bool:
    """Whether this is a thread in the background, while the person types at the prompt of the main one.

    What they type there would be half the prompt's and half the question's.
    """
    if threading.current_thread() is threading.main_thread():
        return False
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    if frame is None:
        return True  # Python's own prompt waits in C, with nothing on the stack
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("prompt_toolkit", "_pyrepl"):
            return True
        frame = frame.f_back
    return False
