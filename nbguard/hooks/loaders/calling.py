"""Who calls a loader of repositories, and how the call wants the Hub to be asked.

called_by_person()              # False where langchain calls sentence-transformers
HubOptions.of(kwargs)           # token, cache_dir, local_files_only, force_download
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

from nbguard.hooks import trust

LOOKED_THROUGH = ("transformers", "diffusers", "sentence_transformers", "peft", "timm", "accelerate", "torch",
                  "huggingface_hub", "nbguard")  # fmt: skip
"""Packages whose frames do not count as the caller."""


@dataclass(frozen=True)
class HubOptions:
    """How the call wants the Hub to be asked."""

    token: str | bool | None = None
    cache_dir: str | None = None
    local_files_only: bool = False
    force_download: bool = False

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> HubOptions:
        """From the arguments of a call, by the names that all these libraries share."""
        cache = arguments.get("cache_dir")
        return cls(
            arguments.get("token"),
            None if cache is None else os.fspath(cache),
            bool(arguments.get("local_files_only")),
            bool(arguments.get("force_download")),
        )


def called_by_person() -> bool:
    """Whether the first frame outside of these libraries and what they are built on belongs to the person."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        through = filename == "<nbguard>" or (
            top in (*LOOKED_THROUGH, "contextlib", "functools") and (trust.is_installed(filename) or top == "nbguard")
        )
        if not through:
            return not trust.is_installed(filename)
        frame = frame.f_back
    return False
