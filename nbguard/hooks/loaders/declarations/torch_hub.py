"""`torch.hub`: repositories with a `hubconf.py`, and weights from an address."""

from __future__ import annotations

from nbguard.hooks.loaders.entry import Loader

_CODE = (
    "hubconf.py and what it imports run only from the scanned bytes, no byte code and no native module, without"
    " effects; what they load is guarded by itself; the hosts that they fetch from stand in the code"
)
_FUNCTIONS = "what the functions of that code do when they are called later"

LOADERS = (
    Loader(
        name="torch.hub.load",
        module="torch.hub",
        guard="torch_hub_:guard",
        asks_about="hubconf.py and what it imports from beside it",
        enforced=_CODE,
        scanned=_FUNCTIONS,
    ),
    Loader(
        name="torch.hub.list",
        module="torch.hub",
        guard="torch_hub_:guard",
        asks_about="the same, which it imports",
        enforced=_CODE,
        scanned=_FUNCTIONS,
    ),
    Loader(
        name="torch.hub.help",
        module="torch.hub",
        guard="torch_hub_:guard",
        asks_about="the same, which it imports",
        enforced=_CODE,
        scanned=_FUNCTIONS,
    ),
    Loader(
        name="torch.hub.load_state_dict_from_url",
        module="torch.hub",
        guard="torch_hub_:guard",
        asks_about="the file that was fetched",
        enforced="as torch.load, restricted unless weights_only=False is written; the checksum where check_hash asks"
        " for it, of a file in the cache too",
        scanned="storages: by length and place",
    ),
)
