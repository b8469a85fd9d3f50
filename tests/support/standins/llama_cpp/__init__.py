"""A stand-in for llama-cpp-python, which has to be compiled: the signatures of its 0.3 line, and of llama.cpp no more
than which files it opens, by which names.
"""

from __future__ import annotations

from llama_cpp.llama import Llama

__all__ = ["Llama"]
