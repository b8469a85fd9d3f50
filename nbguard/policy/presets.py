"""The built-in policies, read from `presets.toml`.

presets()["strict"].danger_stored      # False
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from nbguard.policy.model import Policy


@functools.cache
def presets() -> Mapping[str, Policy]:
    """Name → policy, in the order of the file.

    Raises:
        PolicyError: the package's own data is damaged; nothing can be decided then, so nothing loads.
    """
    import tomllib

    text = resources.files("nbguard.policy").joinpath("presets.toml").read_text("utf-8")
    return MappingProxyType({name: Policy.from_mapping(name, data) for name, data in tomllib.loads(text).items()})
