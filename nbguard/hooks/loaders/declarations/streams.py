"""Loaders that unpickle under other names, databases of pickles, and Python's byte code."""

from __future__ import annotations

from nbguard.hooks.loaders.entry import Loader

_PROGRAM = "the scanned program bytes from memory; globals, verbs and arguments in the contract; no effects"
_PICKLE = "every program, global, call and state"
_CODE = "nothing beyond the question: byte code that somebody runs can do anything; the bytes read are those scanned"
_VALUES = "plain values; code objects are shown as the instructions that they are, and are a danger"

MARSHAL = (
    Loader(
        name="marshal.load",
        module="marshal",
        function="load",
        source=("file",),
        signature=("file",),
        hand="bytes",
        guard="marshal_:guard",
        asks_about="the rest of the file; only where a person's own code calls it, never for imports",
        enforced=_CODE,
        scanned=_VALUES,
    ),
    Loader(
        name="marshal.loads",
        module="marshal",
        function="loads",
        source=("bytes",),
        signature=("bytes",),
        hand="bytes",
        guard="marshal_:guard",
        asks_about="the bytes; only where a person's own code calls it, never for imports",
        enforced=_CODE,
        scanned=_VALUES,
    ),
)

LOADERS = (
    Loader(
        name="dill.load",
        module="dill._dill",
        guard="dill_:guard",
        asks_about="the file or stream",
        enforced=f"{_PROGRAM}; the namespace of `__main__` is never handed out",
        scanned=_PICKLE,
    ),
    Loader(
        name="dill.loads",
        module="dill._dill",
        guard="dill_:guard",
        asks_about="the bytes",
        enforced=f"{_PROGRAM}; the namespace of `__main__` is never handed out",
        scanned=_PICKLE,
    ),
    Loader(
        name="cloudpickle.load",
        module="cloudpickle.cloudpickle",
        guard="pickle_:guard_cloudpickle",
        asks_about="the file or stream",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="cloudpickle.loads",
        module="cloudpickle.cloudpickle",
        guard="pickle_:guard_cloudpickle",
        asks_about="the bytes",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    Loader(
        name="shelve.open",
        module="shelve",
        guard="shelve_:guard",
        asks_about="all values of the database at once, when it is opened",
        enforced=f"{_PROGRAM}, for each value as it is read; what others put in later is asked about then",
        scanned=f"{_PICKLE} of every value; the database file itself is read by its own library",
    ),
    Loader(
        name="shelve.Shelf",
        module="shelve",
        guard="shelve_:guard",
        asks_about="each value that was not there when the shelf was opened, or of a shelf over any other mapping",
        enforced=_PROGRAM,
        scanned=_PICKLE,
    ),
    *MARSHAL,
)
