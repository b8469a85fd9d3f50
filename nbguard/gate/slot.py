"""One place in a cell's output that is shown once and then rewritten.

    slot = Slot()
    slot.show(bundle)          # progress, then the question, then what became of it, in the same place

The saved notebook holds whatever was shown last. A saved widget reopens as an error, so the last thing shown is always
plain HTML and text.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from nbguard.gate import faces

_left = threading.local()


class Slot:
    """A display id of our own and whether it has been used yet."""

    def __init__(self) -> None:
        self.display_id = f"nbguard-{uuid.uuid4().hex}"
        self.cell = running_cell()
        self.used = False

    def show(self, bundle: dict[str, Any]) -> None:
        """Show `bundle` (MIME type → data), in place of what was shown before."""
        from IPython.display import display, update_display

        if self.used:
            update_display(bundle, raw=True, display_id=self.display_id)
        else:
            self.used = True
            display(bundle, raw=True, display_id=self.display_id)

    def show_static(self, html: str, text: str) -> None:
        """Show only what a saved notebook and its exports can show again."""
        self.show({"text/html": html, "text/plain": text})

    def leave(self) -> None:
        """Blank the place, and let the next question of this cell and thread have it."""
        if self.used:
            self.show_static("", "")
            _left.slot = self


def take() -> Slot:
    """The place that a progress bar left behind in this very cell, or a new one."""
    slot: Slot | None = getattr(_left, "slot", None)
    _left.slot = None
    return slot if slot is not None and slot.cell and slot.cell == running_cell() else Slot()


def running_cell() -> str:
    """The message that the running cell came with; empty where there is no kernel."""
    running = faces.kernel()
    header = faces.parent(running).get("header") if running is not None else None
    return str(header.get("msg_id", "")) if isinstance(header, dict) else ""
