"""`Interpreter` with tflite-runtime's own signature. It maps the model as the runtime does, and reads it when asked."""

from __future__ import annotations

import mmap
from typing import Any


class Delegate:
    def __init__(self, library: str, options: dict[str, str] | None = None) -> None:
        self.library, self.options = library, options


class Interpreter:
    def __init__(
        self,
        model_path: str | None = None,
        model_content: bytes | None = None,
        experimental_delegates: list[Delegate] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: Any = None,
        experimental_preserve_all_tensors: bool = False,
        experimental_disable_delegate_clustering: bool = False,
    ) -> None:
        if (model_path is None) == (model_content is None):
            raise ValueError("`model_path` or `model_content` must be specified.")
        if model_path is None:
            self._model: Any = model_content
        else:
            with open(model_path, "rb") as file:
                self._model = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def mapped(self) -> bytes:
        """What the runtime would read of the model right now."""
        return bytes(self._model[:])


def load_delegate(library: str, options: dict[str, str] | None = None) -> Delegate:
    return Delegate(library, options)
