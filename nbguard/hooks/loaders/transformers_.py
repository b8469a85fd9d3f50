"""transformers: `from_pretrained` of every class, `pipeline`, and the code that a repository brings along.

    undo = install(PostImport())
    AutoModel.from_pretrained("org/name")       # pinned, scanned, decided on, and only then loaded
    undo()

Every Auto class carries its own copy of `from_pretrained`, and classes appear whenever a lazy module is imported, so
every class of every transformers module is looked at as the module arrives. The functions keep their identity: names
bound before the guard came are caught. Beneath them, the few functions through which all files, revisions and remote
code go are held to what was admitted, so that nothing else is opened by another way.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbguard.artifact.checkpoints import Selection
from nbguard.hooks.loaders.instead import FOLDER, admitted
from nbguard.hooks.loaders.repository import current, loading, settled
from nbguard.hooks.swap import FILENAME, Swapped, swap

if TYPE_CHECKING:
    from nbguard.hooks.imports import PostImport

CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"
"""transformers asks a bot on the Hub to convert pickles, from a thread of its own, unless this is set."""
SOURCES = ("pretrained_model_name_or_path", "pretrained_model_name", "retriever_name_or_path", "main_model")
"""What the first argument of a `from_pretrained` is called."""
MODELS = frozenset({"PreTrainedModel", "_BaseAutoModelClass"})
"""Base classes that load weights; every other class with a `from_pretrained` reads configurations and vocabularies."""

_swapped: dict[int, Swapped] = {}
"""By the function's identity; a function that two classes share is exchanged once."""
_copies: list[tuple[types.FunctionType, Swapped]] = []
"""Copies that transformers made of a guarded function (`copy_func`), with the one they were made of."""


def install(imports: PostImport) -> Callable[[], None]:
    """Guard what is imported of transformers now and later. Returns what undoes it."""
    from nbguard.hooks.walls import code

    before = os.environ.get(CONVERSION)
    os.environ.setdefault(CONVERSION, "1")
    remove_wall = code.install(_guard_classes)
    imports.when_imported_below("transformers", _guard)

    def undo() -> None:
        remove_wall()
        for function, swapped in _copies:
            replace(swapped, function=function).restore()
        for swapped in _swapped.values():
            swapped.restore()
        _copies.clear()
        _swapped.clear()
        settled.forget()
        if before is None:
            os.environ.pop(CONVERSION, None)

    return undo


def _exchange(function: Any, around: Callable[..., Any]) -> None:
    if not isinstance(function, types.FunctionType) or id(function) in _swapped:
        return
    if function.__code__.co_filename != FILENAME:
        _swapped[id(function)] = swap(function, around)
        return
    made_of = next((s for s in _swapped.values() if s.function.__code__ is function.__code__), None)
    if made_of is not None and all(function is not known for known, _ in _copies):
        _copies.append((function, made_of))


def _guard(module: ModuleType) -> None:
    """Guard what one module of transformers defines."""
    from nbguard.hooks.walls import code

    functions = {
        "transformers.pipelines": {"pipeline": _pipeline},
        "transformers.utils.hub": {"cached_files": _cached_files, "resolve_revision": _resolve_revision},
        "transformers.dynamic_module_utils": {
            "resolve_trust_remote_code": _resolve_trust_remote_code,
            "get_cached_module_file": _get_cached_module_file,
            "get_class_in_module": code.get_class_in_module,
        },
    }
    for name, around in functions.get(module.__name__, {}).items():
        _exchange(module.__dict__.get(name), around)
    _guard_classes(module)


def _guard_classes(module: ModuleType) -> None:
    if module.__name__.partition(".")[0] == "diffusers_modules":
        return  # code that diffusers runs, and guards
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            method = value.__dict__.get("from_pretrained")
            if isinstance(method, classmethod):
                _exchange(method.__func__, _from_pretrained)


# what a person calls


def _from_pretrained(original: Callable[..., Any], cls: type, *args: Any, **kwargs: Any) -> Any:
    source = args[0] if args else next((kwargs[name] for name in SOURCES if name in kwargs), None)
    if not isinstance(source, str | os.PathLike):
        return original(cls, *args, **kwargs)  # a state dict or a model that is in memory already: nothing is opened
    with loading(f"{cls.__name__}.from_pretrained", kwargs) as load:
        commit, chosen = admitted(
            load,
            f"{cls.__name__}.from_pretrained",
            os.fspath(source),
            kwargs,
            lambda: load.admit(os.fspath(source), revision=_revision(kwargs), selection=selection_of(cls, kwargs)),
            lambda folder: load.admit(folder, selection=selection_of(cls, kwargs)),
        )
        if FOLDER in chosen:
            args = (chosen[FOLDER], *args[1:]) if args else ()
            kwargs |= {name: chosen[FOLDER] for name in SOURCES if name in kwargs}
        if commit is not None:
            kwargs |= {"revision": commit}
            if kwargs.get("force_download"):
                kwargs["force_download"] = False  # it has just been fetched anew, and that copy was scanned
        with _held(cls):
            return original(cls, *args, **kwargs)


def _held(cls: type) -> AbstractContextManager[None]:
    """The wall for effects around the construction of a class that a repository brought along."""
    from nbguard.hooks.walls import code, code_effects

    grant = code.grant_of(cls.__module__)
    return code_effects.constructing(grant) if grant is not None and grant.enforced else nullcontext()


def _pipeline(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    given = _bound(original, args, kwargs)
    arguments = {**(given.get("model_kwargs") or {}), **kwargs, **given}
    with loading("pipeline", arguments) as load:
        model = given.get("model")
        if isinstance(model, str | os.PathLike):
            load.admit(os.fspath(model), revision=_revision(arguments), selection=_narrowed(arguments, weights=True))
        return original(*args, **kwargs)


def selection_of(cls: type, kwargs: dict[str, Any]) -> Selection:
    """What this call narrows the files of a repository to."""
    names = {base.__name__ for base in cls.__mro__}
    return _narrowed(kwargs, weights=bool(names & MODELS) or not _reads_only(names))


def _reads_only(names: set[str]) -> bool:
    """Classes known to open no weights."""
    words = ("Config", "Tokenizer", "Processor", "FeatureExtract", "ImageProcessing", "PreTrainedTokenizer")
    return any(word in name for name in names for word in words)


def _narrowed(kwargs: dict[str, Any], *, weights: bool) -> Selection:
    subfolder, variant, gguf = kwargs.get("subfolder"), kwargs.get("variant"), kwargs.get("gguf_file")
    return Selection(
        subfolder=subfolder if isinstance(subfolder, str) else "",
        variant=variant if isinstance(variant, str) else None,
        use_safetensors=kwargs.get("use_safetensors"),
        gguf_file=gguf if isinstance(gguf, str) else None,
        weights=weights,
        code=bool(kwargs.get("trust_remote_code")),
    )


def _revision(arguments: dict[str, Any]) -> str | None:
    revision = arguments.get("revision")
    return None if revision is None else str(getattr(revision, "resolved", None) or revision)


def _bound(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name; an empty dictionary where they do not fit, because then the call itself raises."""
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except TypeError:
        return {}


# what transformers calls beneath


def _resolve_revision(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    load = current()
    given = _bound(original, args, kwargs)
    source = given.get("path_or_repo_id")
    if load is None or not isinstance(source, str | os.PathLike) or os.path.exists(source):
        return original(*args, **kwargs)
    commit = load.admit(os.fspath(source), revision=_revision(given), files=())
    return original(**{**given, "revision": commit})  # a full commit is taken as it is: nobody is asked


def _cached_files(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    load = current()
    given = _bound(original, args, kwargs)
    source, names = given.get("path_or_repo_id"), given.get("filenames")
    if load is None or not isinstance(source, str | os.PathLike) or not isinstance(names, list | tuple):
        return original(*args, **kwargs)
    place = os.fspath(source)
    if os.path.isfile(place):
        return original(*args, **kwargs)
    extra = given.pop("deprecated_kwargs", {})
    below = given.get("subfolder") or ""
    wanted = [os.path.join(below, str(name)).replace(os.sep, "/") for name in names]
    if not load.known(place):
        load.admit(place, revision=_revision(given), selection=Selection(weights=False))
    commit = load.admit(place, revision=_revision(given), files=wanted)
    if commit is not None:
        given |= {"revision": commit, "force_download": False}
    return original(**given, **extra)


def _resolve_trust_remote_code(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Never the question on standard input: code runs where `trust_remote_code=True` was written, else not."""
    given = _bound(original, args, kwargs)
    if given and given.get("trust_remote_code") is None:
        given["trust_remote_code"] = False
        return original(**given)
    return original(*args, **kwargs)


def _get_cached_module_file(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    given = _bound(original, args, kwargs)
    source, file = given.get("pretrained_model_name_or_path"), given.get("module_file")
    if not isinstance(source, str | os.PathLike) or not isinstance(file, str):
        return original(*args, **kwargs)
    extra = given.pop("deprecated_kwargs", {})
    with ExitStack() as stack:
        load = current() or stack.enter_context(loading("custom code", {**given, "trust_remote_code": True}))
        place = os.fspath(source)
        commit = load.admit(place, revision=_revision(given), module=file)
        if commit is not None:
            given |= {"revision": commit, "force_download": False}
        return original(**given, **extra)
