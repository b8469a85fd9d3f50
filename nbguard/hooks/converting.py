"""What a person wants converted is converted while the cell waits; the loader goes on with the folder that was made.

    folder = converted(report, "AutoModel.from_pretrained", "org/name", ["pytorch_model.bin"])

The conversion itself lies further right in the house, where nothing in here may import from: it is an action that is
named, and looked up when somebody wants it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbguard.errors import NbguardError
from nbguard.hooks import walk
from nbguard.hooks.walls import scope

if TYPE_CHECKING:
    from nbguard.report.model import Report

ACTION = "nbguard.safe_loader:converted_folder"
"""`module:function` that converts the weights of a folder or repository and returns the folder that it made."""


def converted(report: Report, loader: str, source: str, only: Sequence[str]) -> str:
    """The folder with the weights as safetensors, private to this user, and what belongs to them.

    Args:
        report: on what is converted: exactly that commit is.
        only: the weights that this load would open.

    Raises:
        LoadBlocked: it could not be converted; the message says why. It is final for the whole load.
        KeyboardInterrupt: the person stopped the cell; nothing is left behind.
    """
    from nbguard.gate import progress

    module, _, name = ACTION.partition(":")
    try:
        with scope.outside(), progress(f"Converting {source} to safetensors") as moved:
            folder: str = getattr(importlib.import_module(module), name)(
                source, report.artifact.commit, only=only, progress=moved
            )
    except NbguardError as error:
        raise walk.blocked(f"{source} was not converted, and nothing was loaded. {error}", loader, source) from None
    return folder
