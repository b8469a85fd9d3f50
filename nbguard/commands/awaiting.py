"""`%%safemodel` above a cell with a top-level `await`.

    add(get_ipython())          # such cells are rewritten as they are run

A magic gets its cell as text and has to run it itself, which it cannot where the kernel's own event loop would have to
serve the `await`. So the cell stays where it is, and its first line becomes the question about what the rest loads:

    get_ipython().run_cell_magic('safemodel', '--ask-only', …)
    await …

Lines keep their numbers, and IPython runs the cell as any other.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

MARK = "%%safemodel"


def add(shell: Any) -> None:
    """Calling it again does nothing."""
    if rewritten not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(rewritten)


def remove(shell: Any) -> None:
    if rewritten in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(rewritten)


def rewritten(lines: list[str]) -> list[str]:
    """The cell's lines, with a question in the place of the magic where the rest awaits something; else as they are."""
    if not lines or lines[0].rstrip() != MARK:
        return lines
    body = "".join(lines[1:])
    if not awaits(body):
        return lines
    return [f"get_ipython().run_cell_magic('safemodel', '--ask-only', {body!r})\n", *lines[1:]]


def awaits(cell: str) -> bool:
    """Whether the cell awaits something outside of its functions. Cells that are not Python do not."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        plain = TransformerManager().transform_cell(cell)
        code = compile(plain, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(code.co_flags & inspect.CO_COROUTINE)
