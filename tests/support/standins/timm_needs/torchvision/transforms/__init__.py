"""Names only: timm's own transforms derive from some of them, and none is ever made."""

from __future__ import annotations

from typing import Any

from torchvision.transforms import functional as functional
from torchvision.transforms.functional import InterpolationMode as InterpolationMode


class _Transform:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("this stand-in transforms no pictures")


def __getattr__(name: str) -> type[_Transform]:
    if name.startswith("_"):
        raise AttributeError(name)
    return type(name, (_Transform,), {})
