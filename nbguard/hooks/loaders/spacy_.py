"""spaCy: a pipeline's folder.

spacy.load("./my_pipeline")         # config.cfg, meta.json, every component: scanned, then read from links to them
spacy.load("en_core_web_sm")        # an installed package: code and data that were installed, imported as such
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nbguard.hooks import grants
from nbguard.hooks.loaders.entry import Call

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened


def folder_of_model(call: Call) -> Opened | None:
    """The files of a pipeline's folder; None for the name of an installed package, as spaCy itself tells them apart."""
    from spacy.util import is_package

    from nbguard.artifact.folders import names_below
    from nbguard.artifact.sources import open_files

    name = call.source
    outer = grants.current()
    if outer is not None and any(grant.request.loader.startswith("spacy.") for grant in outer.grants):
        return None  # `spacy.load` calls `load_model` with the folder that it was given
    if isinstance(name, str) and (name.startswith("blank:") or is_package(name)):
        return None
    if not isinstance(name, str | os.PathLike) or not os.path.isdir(name):
        return None  # spaCy says by itself that there is no such pipeline
    root = os.path.realpath(name)
    call.form = "path"
    opened = open_files(root, dict.fromkeys(names_below(root)), target=os.fspath(name), kind="directory")
    opened.provenance.update({"source": "folder", "path": root})
    return opened
