"""The code of a notebook's cells, and which notebook runs here.

    book = read("train.ipynb")
    book.cells[0].source
    running(get_ipython().user_ns)      # the path of the notebook that this kernel serves; NotebookError where unknown

A notebook is a JSON file that anybody may have written: it is read within bounds, and nothing of it is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbguard.errors import NbguardError

MAX_BYTES = 100 << 20
MAX_CELLS = 10_000
MAX_SOURCE = 1_000_000
"""Characters of one cell; a longer one is not Python that a person wrote."""
PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "safemodel", "prun", "memit", "heat", "skip", "nbguard"})
"""Cell magics whose cell is Python all the same; that of any other is another language's, or a file's."""


class NotebookError(NbguardError):
    """A notebook cannot be found or read. One plain sentence."""


@dataclass(frozen=True)
class Cell:
    """One code cell."""

    number: int
    """Counted over all cells of the notebook, from 1, as a reader counts them."""
    source: str


@dataclass(frozen=True)
class Notebook:
    path: str
    cells: tuple[Cell, ...]
    """Code cells that are Python, in their order."""
    saved: float
    """When the file was last written, in seconds since the epoch."""


def read(path: str) -> Notebook:
    """The code of the notebook. Raises NotebookError."""
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    try:
        with open(path, "rb") as file:
            seen = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it has no such name"
        raise NotebookError(f"The notebook {shown} cannot be read: {why}.") from None
    if len(data) > MAX_BYTES:
        raise NotebookError(f"The notebook {shown} is larger than {MAX_BYTES >> 20} MiB and is not read.")
    try:
        book = json.loads(data)
    except (ValueError, RecursionError):
        raise NotebookError(f"{shown} is no notebook: it is not JSON.") from None
    cells = book.get("cells") if isinstance(book, dict) else None
    if not isinstance(cells, list):
        raise NotebookError(f"{shown} is no notebook of a format that is read here (nbformat 4).")
    language = _language(book)
    if language not in ("", "python", "ipython", "python3"):
        raise NotebookError(f"{shown} is a notebook of {language[:40]!r}; only Python's loads are known.")
    found = [_cell(number, cell) for number, cell in enumerate(cells[:MAX_CELLS], 1)]
    return Notebook(path, tuple(cell for cell in found if cell is not None), seen.st_mtime)


def _language(book: Mapping[str, Any]) -> str:
    metadata = book.get("metadata")
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        part = metadata.get(key) if isinstance(metadata, dict) else None
        value = part.get(name) if isinstance(part, dict) else None
        if isinstance(value, str):
            return value.lower()
    return ""


def _cell(number: int, cell: object) -> Cell | None:
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str) or len(source) > MAX_SOURCE:
        return None
    first, newline, rest = source.lstrip("\n").partition("\n")
    if first.startswith("%%"):
        magic = first.removeprefix("%%").split(None, 1)
        if not magic or magic[0] not in PYTHON_MAGICS:
            return None
        source = newline + rest  # the lines keep their numbers
    return Cell(number, source)


def running(namespace: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> str:
    """The path of the notebook that this kernel runs.

    Jupyter's server names it in `JPY_SESSION_NAME`; VS Code in a variable of the notebook's namespace.

    Raises:
        NotebookError: nothing says which one it is.
    """
    env = os.environ if environ is None else environ
    named = env.get("JPY_SESSION_NAME", "")
    if named.endswith(".ipynb") and os.path.isfile(named):
        return named
    value = (namespace or {}).get("__vsc_ipynb_file__")
    if type(value) is str and os.path.isfile(value):
        return value
    raise NotebookError("It cannot be told here which notebook runs; name it: %safemodel preflight train.ipynb")
