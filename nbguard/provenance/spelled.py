"""A repository's or publisher's name, in each of the ways in which people write one.

    bare_name("hf://meta-llama/Llama-3.1-8B@main")      # "meta-llama/Llama-3.1-8B"
    bare_name("https://huggingface.co/google/gemma-2b/tree/main")      # "google/gemma-2b"
    bare_name("../models/x")      # NameUnclear: looks like a path

Nothing is looked up. What cannot be a name is refused with one sentence: nothing is guessed of it.
"""

from __future__ import annotations

import os
import re

from nbguard.errors import NbguardError

LONGEST_PART = 96
"""Characters that the Hub allows in each part of a name (huggingface_hub's `validate_repo_id`)."""
LONGEST_TEXT = 1_000
"""Characters of what is taken apart at all; addresses are longer than names."""

_ADDRESS = re.compile(r"(?:https?://)?(?:[a-z0-9.-]{1,100}\.)?(?:huggingface\.co|hf\.co)/", re.I)
_KINDS = ("models/", "datasets/", "spaces/")
_INSIDE = re.compile(r"^([^/]+/[^/]+)/(?:tree|blob|resolve|raw|commit|commits|discussions)(?:/.*)?$", re.S)


class NameUnclear(NbguardError, ValueError):  # noqa: N818 - reads as what happened
    """A text that can be no name of a publisher or repository. The message is one plain sentence."""


def bare_name(text: str) -> str:
    """`org/name`, or one word, without what stands before and after it in addresses and revisions.

    Raises:
        NameUnclear: empty, too long, not UTF-8, a path, or with more parts than a name has.
    """
    if len(text) > LONGEST_TEXT:
        raise NameUnclear(f"A name of {len(text):,} characters is longer than any on the Hub.")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise NameUnclear("The name is not UTF-8, and no name on the Hub is like that.")
    name = text.strip(" \t\r\n")
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if hub and name.startswith(f"{hub}/"):
        name = f"hf.co/{name[len(hub) + 1 :]}"
    address = _ADDRESS.match(name)
    if name.startswith("hf://"):
        name = _without_kind(name.removeprefix("hf://"))
    elif address:
        name = _without_kind(name[address.end() :].partition("?")[0].partition("#")[0])
    elif "://" in name:
        raise NameUnclear("This is an address of another place than the Hub; its names say nothing about who that is.")
    elif name.startswith(_KINDS) and name.count("/") == 2:
        name = _without_kind(name)
    inside = _INSIDE.match(name)
    name = inside[1] if inside else name.partition("@")[0]
    if address:
        name = name.rstrip("/")
    return _checked(name)


def _without_kind(name: str) -> str:
    kind = next((kind for kind in _KINDS if name.startswith(kind)), "")
    return name.removeprefix(kind) if name.count("/") >= 2 else name


def _checked(name: str) -> str:
    parts = name.split("/")
    if not name:
        raise NameUnclear("An empty name says nothing.")
    if "\\" in name or name[0] in "/~" or any(part in ("", ".", "..") for part in parts) or len(parts) > 2:
        raise NameUnclear("This looks like a path; a name on the Hub is publisher/model, or a publisher alone.")
    if any(len(part) > LONGEST_PART for part in parts):
        raise NameUnclear(f"A part of this name is longer than the {LONGEST_PART} characters that the Hub allows.")
    return name
