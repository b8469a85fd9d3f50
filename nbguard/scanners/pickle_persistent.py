"""Persistent ids: torch names its storages by them, and nothing else is data.

storage_trouble(("storage", float_storage, "0", "cpu", 16), "torch-zip")     # None
"""

from __future__ import annotations

from typing import Any

from nbguard.formats.pickle_machine import Inert, InertType


def storage_trouble(identity: Any, container: str) -> str | None:
    """What is wrong with a persistent id in a torch file, as the end of "A persistent id …", or None."""
    return _tar_trouble(identity) if container == "torch-tar" else _storage_trouble(identity)


def _tar_trouble(identity: Any) -> str | None:
    """torch's oldest format: a key, or `(class, file, source)` of a module, whose source it writes."""
    if type(identity) in (str, bytes, int):
        return None
    if type(identity) is tuple and identity and isinstance(identity[0], InertType) and not all(identity[1:]):
        return None
    return "carries a module with its source"


def _storage_trouble(identity: Any) -> str | None:
    """What is wrong with a torch persistent id, or None where it is a plain storage.

    The forms are those of torch/serialization.py: `('storage', class, key, location, numel)` in a zip, with
    `view_metadata` as sixth in the legacy format, and `('module', class, file, source)` there, which writes source."""
    if type(identity) is not tuple or not identity:
        return "is no storage"
    kind = identity[0].decode("latin1") if isinstance(identity[0], bytes) else identity[0]
    if kind == "module":
        return "carries a module with its source" if len(identity) != 4 or all(identity[2:]) else None
    if kind != "storage" or len(identity) not in (5, 6):
        return "is no storage"
    cls, key, location, count = identity[1:5]
    if not isinstance(cls, InertType) or not cls._seen.name.endswith("Storage"):
        return "names no storage class"
    if type(key) not in (str, bytes, int) or type(location) not in (str, bytes) or type(count) is not int or count < 0:
        return "is malformed"
    if any(isinstance(part, Inert) for part in identity[2:]):
        return "is malformed"
    return None
