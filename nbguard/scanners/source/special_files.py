"""Functions that read, write and load: what they are given tells what they do (`special.py` has the others)."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from nbguard.scanners.source.lookups import item
from nbguard.scanners.source.special import special
from nbguard.scanners.source.storing import steer
from nbguard.scanners.source.values import UNKNOWN, Ref, Table, Values, constants

if TYPE_CHECKING:
    from nbguard.scanners.source.analysis import Machine

_WRITING = frozenset("wax+")
_FLAGS = re.compile(r"O_(?:WRONLY|RDWR|CREAT|APPEND|TRUNC)")


@special("builtins.open", "tensorflow.io.gfile.GFile", "tensorflow.io.gfile.open")
def _open(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    modes = constants(args[1] if len(args) > 1 else kwargs.get("mode", set()), str)
    written = any(_WRITING & set(mode) for mode in modes)
    for path in constants(args[0] if args else kwargs.get("file", set()), (str, bytes)):
        place = path if isinstance(path, str) else path.decode("utf-8", "replace")
        m.path(place, node)
        if written:
            m.fixed(place, node)
    if written:
        m.act("write", "open", node)
    return {Ref("open()")}


@special("os.open")
def _os_open(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    flags = getattr(node, "args", [])[1:2]
    if flags and _FLAGS.search(ast.unparse(flags[0])[:500]):
        m.act("write", "os.open", node)
    return {UNKNOWN}


@special("fileinput.input", "fileinput.FileInput")
def _fileinput(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    if any(constants(kwargs.get("inplace", set()), bool)):
        for path in (p for a in args[:1] for p in constants(a, str)):
            m.path(path, node)
        m.act("files", "fileinput.input", node)
    return None


@special("os.path.join", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "pathlib.Path().joinpath")
def _joined(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    """Paths that are put together: what they name may be a secret."""
    pieces = ["/".join(str(c) for c in constants(a, str)[:4]) for a in args]
    m.path("/".join(pieces)[-400:], node)
    return None


@special("pathlib.Path().open")
def _path_open(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return _open(m, [set(), *args], kwargs, node)


@special("os.environ.get", "os.getenv", "os.environ.pop", "os.environ.__getitem__", "os.environb.get")
def _environ(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    item(m, Ref("os.environ"), args[0] if args else set(), node)
    return {UNKNOWN}


@special("os.putenv", "os.environ.setdefault", "os.environ.__setitem__", "os.environ.update")
def _putenv(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    words: list[str | bytes] = [*constants(args[0] if args else set(), (str, bytes)), *kwargs]
    words += [k for a in args[:1] for v in a if isinstance(v, Table) for k, _ in v.by_key if isinstance(k, str)]
    steer(m, words, node)
    return {UNKNOWN}


@special("torch.load")
def _torch_load(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    return {UNKNOWN}  # `weights_only=False` is told wherever it stands


@special("yaml.load", "yaml.load_all")
def _yaml_load(m: Machine, args: list[Values], kwargs: dict[str, Values], node: ast.AST) -> Values | None:
    loaders = kwargs.get("Loader", args[1] if len(args) > 1 else set())
    names = {v.name.rpartition(".")[2] for v in loaders if isinstance(v, Ref)}
    if names & {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader"} or not loaders:
        m.act("code", "yaml.load", node)
    return {UNKNOWN}
