"""A stand-in for torchvision: just what the real timm needs in order to be imported and to build its models.

The torchvision of the package index is bound to one release of torch, and there is none for the one that the tests use.
Only names are here that timm imports when it is imported; pictures are never read.
"""

from __future__ import annotations

__version__ = "0.0.0"
