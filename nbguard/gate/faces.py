"""Who is on the other side: a person with a page, a person with a terminal, or nobody.

    frontend()      # "widget", "terminal" or "none"

`NBGUARD_FACE` can ask for less than there is: `text` puts the question as text to be typed, `none` never asks.
It cannot make up a person where there is none.
"""

from __future__ import annotations

import os
import sys
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


def _at_a_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # no standard stream at all, or a closed one
        return False


def frontend() -> Literal["widget", "terminal", "none"]:
    """Which face can ask a question here and now.

    A kernel whose client takes input gets the widget; terminal IPython and an interactive Python get the terminal.
    A script gets none even at a terminal, for it may have been left to itself, unless `NBGUARD_FACE=text` says that
    someone is there.
    """
    wish = os.environ.get(FACE_VARIABLE, "").strip().lower()
    if wish == "none":
        return "none"
    as_text = wish in ("text", "terminal")
    running = kernel()
    if running is not None:
        if not accepts_input(running):
            return "none"
        return "terminal" if as_text else "widget"
    if not _at_a_terminal():
        return "none"
    if shell() is not None or hasattr(sys, "ps1") or as_text:
        return "terminal"
    return "none"
