"""HyperPyYAML, SpeechBrain and NeMo: configurations that name the classes they are made of.

    load_hyperpyyaml(open("hyperparams.yaml"))               # the text that was scanned; every name is judged again
    EncoderClassifier.from_hparams("org/name")               # its configuration, code and weights: one question
    ASRModel.from_pretrained("org/name")                     # the .nemo archive, through the handle that was scanned

HyperPyYAML reads with a reader that knows `!!python` tags; here it gets one that does not. Where a name is resolved
(`pydoc.locate`), it must stand in the text that was scanned, and not be one that nobody accepted.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from nbguard.artifact.checkpoints import Choice, Reader
from nbguard.artifact.model import LoadRequest
from nbguard.hooks import caller, grants, walk
from nbguard.hooks.installed import Installed, bound
from nbguard.hooks.loaders.building import arguments, is_source
from nbguard.hooks.loaders.repository import loading
from nbguard.hooks.walls import code, code_effects, folders, scope
from nbguard.report.model import Verdict

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant

HYPERPYYAML = "hyperpyyaml.load_hyperpyyaml"
LEFT = (".md", ".gitattributes", ".gitignore", ".png", ".jpg", ".jpeg", ".gif", ".wav", ".flac", ".mp3", ".ogg",
        ".html", ".ipynb", ".tsv", ".csv", ".pdf")  # fmt: skip
"""Endings of what lies beside a SpeechBrain model and is no part of it."""


# HyperPyYAML

_reading: ContextVar[tuple[Grant, str] | None] = ContextVar("nbguard.hyperpyyaml", default=None)
"""The grant, and the text in which names may stand, while a configuration is made into objects."""


def guard_hyperpyyaml(hooks: Installed, module: ModuleType) -> None:
    """Guard `load_hyperpyyaml`, and how names are found."""
    hooks.swap(module.load_hyperpyyaml, functools.partial(_load_hyperpyyaml, module))
    pydoc = module.pydoc
    hooks.replace(module, "pydoc", SimpleNamespace(locate=functools.partial(_locate, pydoc.locate)))


def _load_hyperpyyaml(module: ModuleType, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    from nbguard.artifact.sources import open_bytes

    given = bound(original, args, kwargs)
    source = given["yaml_stream"]
    who = caller.find(2)
    outer = grants.current()
    if outer is not None:
        outer.still_allowed()
    with scope.outside(), code_effects.outside():
        text = source if isinstance(source, str) else source.read()
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        name = getattr(source, "name", None)
        label = os.path.basename(name) if isinstance(name, str) else "<stream>"
        held = _holding(outer, data)
        opened = open_bytes(data, name=label)
    with opened:
        if held is None:
            request = LoadRequest(
                HYPERPYYAML, name if isinstance(name, str) else label, opened.kind, {},
                in_person_code=who.kind == "person",
            )  # fmt: skip
            with walk.admit(request, opened) as grant:
                return _make(module, original, given, data, grant)
        return _make(module, original, given, data, held)


def _make(module: ModuleType, original: Callable[..., Any], given: dict[str, Any], data: bytes, grant: Grant) -> Any:
    text = data.decode("utf-8", "surrogatepass")
    if not grant.enforced:
        return original(**{**given, "yaml_stream": io.StringIO(text)})
    if "!include" in text:
        raise walk.violation(grant, "it includes another file, which was not scanned with it.")
    token = _reading.set((grant, f"{text}\n{given['overrides']}"))  # overrides are the caller's own
    try:
        return original(**{**given, "yaml_stream": io.StringIO(text), "loader": _safe(module, given["loader"])})
    finally:
        _reading.reset(token)


def _safe(module: ModuleType, wanted: type) -> type:
    """A reader of this one load: HyperPyYAML teaches it its tags, and it knows none of Python's."""
    library = module.ruamel.yaml
    base = wanted if issubclass(wanted, library.SafeLoader) else library.SafeLoader
    return type("HeldLoader", (base,), {})


def _locate(original: Callable[..., Any], path: str, *args: Any, **kwargs: Any) -> Any:
    from nbguard.scanners.dotted import judge

    reading = _reading.get()
    if reading is None:
        return original(path, *args, **kwargs)
    grant, text = reading
    with scope.outside(), code_effects.outside():
        found = judge(path, called=True)
        if path not in text:
            raise walk.violation(
                grant, f"it names {ascii(path)[1:-1][:100]}, which does not stand in what was scanned."
            )
        own = f"{path.partition('.')[0]}.py"
        brought = any(file.path.rpartition("/")[2] == own for file in grant.contract.code)
        if found.verdict > max(grant.report.verdict, Verdict.REVIEW) and not (brought and found.rule == "call"):
            raise walk.violation(grant, f"it names {ascii(path)[1:-1][:100]}{found.why}")
    return original(path, *args, **kwargs)


def _holding(outer: grants.OuterRequest | None, data: bytes) -> Grant | None:
    """The grant of the load around this one whose files hold exactly these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    for grant in outer.grants if outer is not None else ():
        if any(file.sha256 == digest or file.pin == f"sha256:{digest}" for file in grant.report.files):
            return grant
    return None


# SpeechBrain


def guard_speechbrain(hooks: Installed, module: ModuleType) -> None:
    """Guard `from_hparams` and `foreign_class`."""
    method = module.Pretrained.__dict__.get("from_hparams")
    function = getattr(method, "__func__", method)
    if inspect.isfunction(function):
        hooks.swap(function, functools.partial(_from_hparams, inspect.signature(function), "from_hparams"))
    if hasattr(module, "foreign_class"):
        signature = inspect.signature(module.foreign_class)
        hooks.swap(module.foreign_class, functools.partial(_from_hparams, signature, "foreign_class"))


def guard_speechbrain_imports(hooks: Installed, module: ModuleType) -> None:
    """Guard how SpeechBrain imports a model's own code."""
    if hasattr(module, "import_from_path"):
        hooks.swap(module.import_from_path, _import_from_path)


def _from_hparams(
    signature: inspect.Signature, name: str, original: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    given = arguments(signature, args, kwargs)
    source = given.get("source")
    if not is_source(source):
        return original(*args, **kwargs)
    cls = given.get("cls")
    loader = f"{cls.__name__}.{name}" if isinstance(cls, type) else name
    with (
        loading(f"speechbrain.{loader}", {**given, "trust_remote_code": True}) as load,
        _held(load.admit, given) as pin,
    ):
        if pin is not None and "revision" in signature.parameters:
            kwargs = {**kwargs, "revision": pin}
        return original(*args, **kwargs)


@contextmanager
def _held(admit: Callable[..., str | None], given: dict[str, Any]) -> Iterator[str | None]:
    """The commit, with the code that comes along held to having no effects."""
    revision = given.get("revision")
    commit = admit(os.fspath(given["source"]), revision=None if revision is None else str(revision), plan=_plan)
    grant = grants.innermost()
    if grant is None or not grant.enforced:
        yield commit
        return
    places = [given.get("savedir"), given["source"], grant.opened.root]
    with ExitStack() as stack:
        for place in {os.path.realpath(p) for p in places if isinstance(p, str | os.PathLike) and os.path.isdir(p)}:
            stack.callback(folders.add(place, _reach))
        if (saved := given.get("savedir")) is not None and not os.path.isdir(saved):
            stack.callback(folders.add(os.path.abspath(saved), _reach))  # SpeechBrain makes it
        stack.enter_context(code_effects.constructing(grant))
        yield commit


def _reach(root: str, name: str) -> None:
    raise code.refuse(os.path.join(root, name), "", "it was not part of what was scanned")


def _plan(names: Sequence[str], read: Reader) -> Choice:
    """Everything but pictures, recordings and documents: a configuration may name any of the rest."""
    return Choice(tuple(n for n in names if not n.lower().endswith(LEFT) and not n.startswith(".")))


def _import_from_path(original: Callable[..., Any], path: Any, *args: Any, **kwargs: Any) -> Any:
    """The model's code, from bytes that were accepted; typed code of the person's own is none of it."""
    place = os.fspath(path)
    load = grants.current()
    if load is None or not any(grant.enforced for grant in load.grants):
        return original(path, *args, **kwargs)
    from importlib.util import module_from_spec, spec_from_file_location

    with code_effects.outside(), scope.outside():
        code_effects.repository_below(os.path.dirname(os.path.abspath(place)))
        name = os.path.splitext(os.path.basename(place))[0]
        spec = spec_from_file_location(name, place, loader=code.VerifiedLoader(place, lambda module: None))
        assert spec is not None
    module = module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


# NeMo


def guard_nemo(hooks: Installed, module: ModuleType) -> None:
    """Guard `from_pretrained`: what it fetches, and what `restore_from` then opens, is one load."""
    method = module.Model.__dict__.get("from_pretrained")
    function = getattr(method, "__func__", method)
    if inspect.isfunction(function):
        hooks.swap(function, functools.partial(_from_pretrained, inspect.signature(function)))


def _from_pretrained(signature: inspect.Signature, original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    given = arguments(signature, args, kwargs)
    cls = given.get("cls")
    with loading(f"{getattr(cls, '__name__', 'ModelPT')}.from_pretrained", given):
        return original(*args, **kwargs)
