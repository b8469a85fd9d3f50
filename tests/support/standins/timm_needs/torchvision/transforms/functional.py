"""`InterpolationMode`, with torchvision's own members."""

from __future__ import annotations

import enum


class InterpolationMode(enum.Enum):
    """How a picture is made larger or smaller."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"
