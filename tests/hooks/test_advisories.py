"""The reported bypasses at the load itself: with a scanner that is blind, what was reported does not run either.

And those that went past a guard instead of a scanner: every way into pickle is guarded, one that was bound before too.
"""

from __future__ import annotations

import _pickle
import io
import pickle
from collections.abc import Callable
from pickle import Unpickler as EarlyUnpickler
from pickle import load as early_load
from pickle import loads as early_loads

import pytest
from bypasses import Bypass, bypasses

from nbguard.errors import LoadBlocked

pytest.importorskip("numpy")

pytestmark = pytest.mark.usefixtures("guarded")

PICKLES = [b for b in bypasses() if b.file == "model.pkl"]
BROKEN = frozenset({"an error between two pickles", "a second pickle in the file", "a frame that lies"})
"""Files whose first program is harmless: what a load of one program runs of them is that one."""
ENTRIES: dict[str, Callable[[bytes], object]] = {
    "pickle.load": lambda data: pickle.load(io.BytesIO(data)),
    "pickle.loads": lambda data: pickle.loads(data),
    "pickle.Unpickler": lambda data: pickle.Unpickler(io.BytesIO(data)).load(),
    "pickle._load": lambda data: pickle._load(io.BytesIO(data)),  # type: ignore[attr-defined]
    "pickle._loads": lambda data: pickle._loads(data),  # type: ignore[attr-defined]
    "pickle._Unpickler": lambda data: pickle._Unpickler(io.BytesIO(data)).load(),  # type: ignore[attr-defined]
    "_pickle.load": lambda data: _pickle.load(io.BytesIO(data)),
    "_pickle.loads": lambda data: _pickle.loads(data),
    "_pickle.Unpickler": lambda data: _pickle.Unpickler(io.BytesIO(data)).load(),
    "load, bound before": lambda data: early_load(io.BytesIO(data)),
    "loads, bound before": lambda data: early_loads(data),
    "Unpickler, bound before": lambda data: EarlyUnpickler(io.BytesIO(data)).load(),
}


@pytest.mark.usefixtures("person", "fooled")
@pytest.mark.parametrize("bypass", [b for b in PICKLES if b.is_call], ids=lambda b: b.name)
def test_a_call_is_refused_where_the_scanner_is_blind(bypass: Bypass) -> None:
    with pytest.raises(LoadBlocked):
        pickle.loads(bypass.data())


@pytest.mark.usefixtures("person", "fooled")
@pytest.mark.parametrize("bypass", [b for b in PICKLES if b.builder and b.name not in BROKEN], ids=lambda b: b.name)
def test_a_trick_is_refused_where_the_scanner_is_blind(bypass: Bypass) -> None:
    with pytest.raises(LoadBlocked):
        pickle.loads(bypass.data())


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_way_into_pickle_is_guarded(entry: str) -> None:
    for data in {b.data() for b in PICKLES if b.entry}:
        with pytest.raises(LoadBlocked):
            ENTRIES[entry](data)
