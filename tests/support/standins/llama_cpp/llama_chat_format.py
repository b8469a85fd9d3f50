"""Handlers for pictures, with llama-cpp-python's own signature; the projector's file is opened at the first use."""

from __future__ import annotations

import os


class Llava15ChatHandler:
    def __init__(self, clip_model_path: str, verbose: bool = True) -> None:
        self.clip_model_path = clip_model_path
        self.verbose = verbose
        if not os.path.exists(clip_model_path):
            raise ValueError(f"Clip path does not exist: {clip_model_path}")

    def mapped(self) -> bytes:
        """What `mtmd_init_from_file` would map."""
        with open(self.clip_model_path, "rb") as file:
            return file.read()


class Qwen25VLChatHandler(Llava15ChatHandler):
    """One of those built on it."""
