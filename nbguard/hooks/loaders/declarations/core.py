"""Loaders that unpickle, and transformers: each has a guard of its own."""

from __future__ import annotations

from nbguard.hooks.loaders.entry import Loader

_PROGRAM = "the scanned program bytes from memory; globals, verbs and arguments in the contract; no effects"
_PICKLE = "every program, global, call and state; arrays by length and layout"

LOADERS = (
    Loader(
        name="pickle.load",
        module="pickle",
        guard="pickle_:guard",
        asks_about="the file or stream, each pickle of it",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="pickle.loads",
        module="pickle",
        guard="pickle_:guard",
        asks_about="the bytes",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="pickle.Unpickler.load",
        module="pickle",
        guard="pickle_:guard",
        asks_about="the next pickle of the stream",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="torch.load",
        module="torch.serialization",
        guard="torch_:guard_load",
        enforced=f"{_PROGRAM}; torch's own restricted machine where that is enough; zips through the scanned handle",
        scanned="storages: by length and place",
    ),
    Loader(
        name="torch.jit.load",
        module="torch.jit._serialization",
        guard="torch_:guard_script",
        enforced="a sealed copy whose code and programs have the accepted digests",
        scanned="the TorchScript code itself, which torch runs",
    ),
    Loader(
        name="torch.package.PackageImporter",
        module="torch.package.package_importer",
        guard="torch_:guard_package",
        asks_about="nothing: it is refused",
        enforced="refused: it runs code of its own in ways that nothing can hold to a contract",
        scanned="nothing",
    ),
    Loader(
        name="joblib.load",
        module="joblib.numpy_pickle",
        guard="joblib_:guard",
        asks_about="the file and the arrays beside it",
        enforced=f"{_PROGRAM}; arrays from the scanned ranges",
        scanned=_PICKLE,
    ),
    Loader(
        name="numpy.load",
        module="numpy.lib._npyio_impl",
        guard="numpy_:guard",
        asks_about="the file, where `allow_pickle=True`; without it numpy unpickles nothing",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="numpy.load",
        module="numpy.lib.npyio",
        guard="numpy_:guard_old",
        asks_about="the same, in numpy 1",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="pandas.read_pickle",
        module="pandas.io.pickle",
        guard="pandas_:guard",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="from_pretrained",
        group="transformers",
        module="",
        asks_about="the files that this class would open, at one commit, with the code and base models they name",
        enforced="the pinned commit; safetensors by handle; pickles as torch.load; code by digest, walls while it is "
        "imported and built",
        scanned="configurations, tokenizers, weights by layout",
    ),
    Loader(
        name="pipeline",
        group="transformers",
        module="",
        asks_about="the same, for all parts of the pipeline at once",
        enforced="as from_pretrained",
        scanned="as from_pretrained",
    ),
)
