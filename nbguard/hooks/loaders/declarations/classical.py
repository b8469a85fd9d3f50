"""Classical models: skops' zips for scikit-learn."""

from __future__ import annotations

from nbguard.hooks.loaders.entry import Loader

_ENFORCED = (
    "the scanned bytes, from memory; each node rehearsed as the pickle step it stands for; every import in the "
    "contract, whatever `trusted` holds; no effects"
)
_SCANNED = "each node of the schema: names, calls, states, arguments; the arrays beside it"

SKOPS = (
    Loader(
        name="skops.io.load",
        module="skops.io._persist",
        function="load",
        source=("file",),
        hand="same",
        arguments=("trusted",),
        guard="skops_:guard",
        asks_about="the file or stream",
        enforced=_ENFORCED,
        scanned=_SCANNED,
    ),
    Loader(
        name="skops.io.loads",
        module="skops.io._persist",
        function="loads",
        source=("data",),
        hand="same",
        arguments=("trusted",),
        guard="skops_:guard",
        asks_about="the bytes",
        enforced=_ENFORCED,
        scanned=_SCANNED,
    ),
)

LOADERS = SKOPS
