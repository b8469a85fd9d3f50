"""Names that no contract can allow, whatever a scanner said of them.

    forbidden("builtins", "eval")       # True

This list is the wall's own. It holds what turns data into code or reaches through objects to it. A person who accepts a
report with verdict danger, in which such a name is shown, lets it through; nbguard's own names never pass.
"""

from __future__ import annotations

import functools

_BUILTINS = "eval exec compile __import__ type map super open input breakpoint globals locals vars setattr delattr"
_NAMES: dict[str, str] = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS + " execfile file reduce apply",
    "operator": "methodcaller attrgetter call",
    "_operator": "methodcaller attrgetter call",
    "functools": "reduce partialmethod singledispatch cached_property",
    "_functools": "reduce",
    "copyreg": "add_extension remove_extension pickle dispatch_table __reduce_ex__",
    "copy_reg": "add_extension remove_extension pickle dispatch_table",
    "cloudpickle.cloudpickle": "_make_function _make_skeleton_class _make_skeleton_enum _builtin_type subimport "
    "dynamic_subimport _make_cell _make_empty_cell _class_setstate _function_setstate loads load",
    "cloudpickle.cloudpickle_fast": "_make_function _class_setstate _function_setstate",
    "cloudpickle": "loads load",
    "dill._dill": "_create_code _create_function _import_module _eval_repr _get_attr _create_filehandle _create_type "
    "_create_cell _create_namedtuple _load_type _create_weakref _create_stringi load loads",
    "dill": "load loads load_module load_session",
    "numpy.lib._datasource": "DataSource Repository open",
    "numpy.lib.npyio": "DataSource load loadtxt fromregex genfromtxt",
    "numpy": "load fromfile loadtxt genfromtxt memmap.__new__",
    "numpy.testing._private.utils": "runstring rundocs",
    "pickle": "load loads Unpickler _Unpickler _load _loads",
    "_pickle": "load loads Unpickler",
    "joblib.numpy_pickle": "load load_temporary_memmap NumpyUnpickler",
    "joblib": "load",
    "pandas": "read_pickle eval",
    "pandas.io.pickle": "read_pickle",
    "types": "FunctionType LambdaType CodeType CellType MethodType ModuleType new_class coroutine",
    "torch": "load compile",
    "torch.serialization": "load _load _legacy_load",
    "torch.jit": "load",
    "torch.jit._serialization": "load",
    "torch.package": "PackageImporter",
    "torch.package.package_importer": "PackageImporter",
    "torch.utils.data.datapipes.datapipe": "_DataPipeSerializationWrapper _IterDataPipeSerializationWrapper "
    "_MapDataPipeSerializationWrapper",
}
_MODULES = (
    "nbguard", "os", "posix", "nt", "sys", "subprocess", "_posixsubprocess", "pty", "ctypes", "_ctypes", "importlib",
    "_imp", "runpy", "code", "codeop", "marshal", "inspect", "gc", "threading", "_thread", "atexit", "signal", "socket",
    "_socket", "shutil", "webbrowser", "cffi", "_cffi_backend", "pydoc", "timeit", "trace", "pdb", "bdb", "cProfile",
    "profile", "doctest", "site", "pip", "ensurepip", "multiprocessing.managers", "multiprocessing.connection",
    "torch.multiprocessing.reductions", "torch.hub", "IPython", "ipykernel",
)  # fmt: skip
_BY_MODULE = {module: frozenset(names.split()) for module, names in _NAMES.items()}

OWN = ("nbguard",)
"""Not even an accepted danger reaches these."""


def own(module: str, name: str) -> bool:
    """Whether the name lies in nbguard, or leads to it."""
    return any(part in OWN for part in (module.split(".")[0], *name.split(".")))


@functools.lru_cache(maxsize=8192)
def forbidden(module: str, name: str) -> bool:
    """Whether no contract can allow this name. A dotted name is judged by each of its beginnings."""
    if own(module, name) or any(module == m or module.startswith(m + ".") for m in _MODULES):
        return True
    names = _BY_MODULE.get(module, frozenset())
    parts = name.split(".")
    if any(part.startswith("__") and part.endswith("__") and part not in _PLAIN_DUNDERS for part in parts):
        return True
    return any(".".join(parts[:n]) in names for n in range(1, len(parts) + 1))


_PLAIN_DUNDERS = ("__newobj__", "__newobj_ex__", "__main__")
"""Names with two underscores at both ends that `copyreg` uses for plain construction."""
