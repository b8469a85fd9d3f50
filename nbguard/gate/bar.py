"""A bar for scans that take long enough to wonder about.

    with progress("Scanning model.bin") as tell:
        tell(0.25, "archive/data.pkl")

Nothing is shown before half a second, nothing where nobody looks, and nothing stays.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator

from nbguard.artifact.names import shortened
from nbguard.gate import faces
from nbguard.report.escape import html, terminal

AFTER = 0.5
"""Seconds of scanning before the bar appears."""

EVERY = 0.15
"""Seconds between two drawings, so that a scan of many small files does not flood the page."""

Tell = Callable[[float, str], None]


@contextlib.contextmanager
def progress(title: str) -> Iterator[Tell]:
    """Yields a function to call with the share done (0 to 1) and what is being read; both may be hostile.

    It may be called from any thread and never raises on account of what it is given.
    """
    face = faces.frontend()
    if face == "none":
        yield lambda share, what: None
        return
    bar = _CellBar(title) if faces.kernel() is not None else _TerminalBar(title)
    # A scan that says nothing for long still gets its bar. The copied context ties its output to this cell.
    timer = threading.Timer(AFTER, contextvars.copy_context().run, args=(bar.draw_if_due,))
    timer.daemon = True
    timer.start()
    try:
        yield bar.tell
    finally:
        timer.cancel()
        bar.close()


class _Bar:
    def __init__(self, title: str) -> None:
        self.title = title
        self.share = 0.0
        self.what = ""
        self._lock = threading.Lock()
        self._due = time.monotonic() + AFTER
        self._closed = False

    def tell(self, share: float, what: str) -> None:
        """Note how far the scan is, and show it if it is time to."""
        self.share = min(1.0, max(0.0, share)) if share == share else 0.0  # not a number is no progress
        self.what = str(what)
        self.draw_if_due()

    def draw_if_due(self) -> None:
        with self._lock:
            # The timer fires just when the bar is due; a clock's rounding must not make it miss that.
            if self._closed or time.monotonic() < self._due - 0.01:
                return
            self._due = time.monotonic() + EVERY
            self._draw()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._clear()

    def _draw(self) -> None:
        raise NotImplementedError

    def _clear(self) -> None:
        raise NotImplementedError


class _CellBar(_Bar):
    def __init__(self, title: str) -> None:
        from nbguard.gate.slot import Slot

        super().__init__(title)
        self._slot = Slot()

    def _draw(self) -> None:
        percent = round(100 * self.share)
        known = self.share > 0
        fill = f"width:{percent}%" if known else "width:100%;opacity:.35"
        label = f"{percent} %" if known else ""
        what = html(shortened(self.what, 100), 100)
        self._slot.show_static(
            '<div class="tex2jax_ignore mathjax_ignore" style="max-width:640px;padding:6px 2px;'
            'font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1,#333)">'
            f"<div><b>nbguard</b> {html(self.title, 160)} "
            f'<span style="color:var(--jp-ui-font-color2,#666)">{what} {label}</span></div>'
            f'<div role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" '
            'style="height:6px;border-radius:3px;margin-top:4px;background:var(--jp-layout-color3,#ddd)">'
            f'<div style="height:6px;border-radius:3px;background:var(--jp-brand-color1,#1976d2);{fill}"></div>'
            "</div></div>",
            f"nbguard: {terminal(self.title, 160)} {label}",
        )

    def _clear(self) -> None:
        self._slot.leave()


def _cut(text: str, most: int) -> str:
    return terminal(shortened(text, most), most)


class _TerminalBar(_Bar):
    _shown = False

    def _draw(self) -> None:
        cells = round(24 * self.share)
        text = f"{'█' * cells}{'░' * (24 - cells)} {round(100 * self.share):3d} %"
        sys.stderr.write(f"\r\x1b[2K{text} {_cut(self.title, 40)} {_cut(self.what, 60)}")
        sys.stderr.flush()
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
