"""Which headers of a zip can be left out where each would cost a request: those in front of PyTorch's tensors.

    spared(view, b"model/data/17", header=81920, length=4096, described=True)

Nothing runs such bytes, and what the header says is in the directory too. Of other members nothing is left out.
"""

from __future__ import annotations

import re

from nbguard.formats.view import View, at_hand

_TENSOR = re.compile(rb"[^/]+/data/\d+")
"""Where PyTorch keeps the bytes of a tensor (`torch/serialization.py`)."""
WORTH = 4
"""Requests for one file beyond which the headers of tensors are left out."""
MAX_PADDING = 8 << 10
"""Bytes between a tensor's header and its bytes that alignment explains; where it is more the header is read."""
_EXTRA = 64
"""Bytes behind an entry's name that its header may have besides the padding."""


def spared(view: View, raw_name: bytes, header: int, length: int, *, described: bool) -> bool:
    """Whether the entry's own header is to be left out: it holds bytes that nothing runs, and reading it is costly.

    Args:
        header: where it begins.
        length: bytes of the entry's data.
        described: whether sizes stand behind the data too.
    """
    if not _TENSOR.fullmatch(raw_name):
        return False
    end = header + 30 + len(raw_name) + _EXTRA
    if not at_hand(view, header, end - header, WORTH):
        return True
    return described and not at_hand(view, end + length - _EXTRA, 2 * _EXTRA, WORTH)
