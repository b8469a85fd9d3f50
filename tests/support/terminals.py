"""A real terminal: a program on a pseudo-terminal of a given width, and the screen that a person would see.

with Terminal([sys.executable, "-q"], folder, columns=40) as terminal:
    terminal.type("import pickle")
    assert "SAFE" in terminal.see("Load it?")
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pexpect
import pyte

WAIT = 20
"""Seconds for anything to happen; every wait ends as soon as it has."""


class Terminal:
    """One program with standard input, output and errors on a terminal."""

    def __init__(
        self, command: list[str], folder: Path, *, columns: int = 80, rows: int = 200, **environment: str
    ) -> None:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NBGUARD_FACE", "NO_COLOR", "COLUMNS"))}
        self._child = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(folder),
            dimensions=(rows, columns),
            timeout=WAIT,
            encoding="utf-8",
            env={
                **kept, "TERM": "xterm-256color", "HOME": str(home), "IPYTHONDIR": str(home / "ipython"),
                "PYTHON_HISTORY": str(home / "history"), "INPUTRC": str(home / "inputrc"), **environment,
            },
        )  # fmt: skip
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        """Everything that came, control sequences included."""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    def type(self, line: str = "") -> None:
        """Type a line and press Enter."""
        self._child.send(line + "\r")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._child.sendintr()

    def see(self, text: str) -> str:
        """Wait until `text` comes, wherever the terminal breaks its lines; all that came since the last time."""
        pattern = r"[\s\x00-\x1f]*".join(re.escape(word) for word in text.split())
        found = self._child.expect([pattern, pexpect.TIMEOUT, pexpect.EOF])
        self._take(self._child.before + (self._child.after if found == 0 else ""))
        assert found == 0, f"never came: {text!r}\n{self.screen()}"
        return str(self._child.before) + str(self._child.after)

    def end(self) -> int:
        """Wait until the program has ended; its exit code."""
        self._child.expect(pexpect.EOF)
        self._take(self._child.before)
        self._child.close()
        return int(self._child.exitstatus if self._child.exitstatus is not None else -1)

    def screen(self) -> str:
        """What stands on the screen, without the empty lines at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def _take(self, text: str) -> None:
        self.raw += text
        self._stream.feed(text)
