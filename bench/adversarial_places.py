"""Where a program can lie, and by which ways it can be loaded.

for container, write in CONTAINERS.items():
    path = write(program, folder)                   # a file that holds the program
    for way in WAYS[container]:
        WAYS[container][way](path)                  # loads it; raises what the loader raises
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Way = Callable[[Path], Any]
early_load, early_loads, EarlyMachine = pickle.load, pickle.loads, pickle.Unpickler
"""Bound before the guard comes, as in a cell that ran earlier."""


def _file(name: str, data: bytes) -> Callable[[bytes, Path], Path]:
    def write(program: bytes, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data + program)
        return path

    return write


def _packed(name: str, pack: Callable[[bytes], bytes]) -> Callable[[bytes, Path], Path]:
    def write(program: bytes, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(pack(program))
        return path

    return write


def _zipped(members: Callable[[bytes], dict[str, bytes]], name: str) -> Callable[[bytes, Path], Path]:
    def write(program: bytes, folder: Path) -> Path:
        path = folder / name
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members(program).items():
                archive.writestr(member, data)
        return path

    return write


def _torch_members(program: bytes) -> dict[str, bytes]:
    return {"archive/data.pkl": program, "archive/version": b"3\n", "archive/byteorder": b"little"}


def _script_members(program: bytes) -> dict[str, bytes]:
    return {**_torch_members(program), "archive/constants.pkl": pickle.dumps((), 2), "archive/code/x.py": b""}


def _legacy(program: bytes) -> bytes:
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}})
    return b"".join(pickle.dumps(part, 2) for part in head) + program + pickle.dumps([], 2)


def _torch_tar(program: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, data in (("storages", pickle.dumps(0, 2)), ("tensors", pickle.dumps(0, 2)), ("pickle", program)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return held.getvalue()


def _npy(program: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head = head.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + program


def _tar_of(program: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        member = tarfile.TarInfo("x")
        member.size = len(program)
        archive.addfile(member, io.BytesIO(program))
    return held.getvalue()


def _lz4(program: bytes) -> bytes:
    import lz4.frame

    packed: bytes = lz4.frame.compress(program)
    return packed


CONTAINERS: dict[str, Callable[[bytes, Path], Path]] = {
    "pickle": _file("a.pkl", b""),
    "pickle named as weights": _file("a.safetensors.pkl", b""),
    "second pickle": _file("b.pkl", pickle.dumps({"honest": 1})),
    "pickle with an end": _packed("c.pkl", lambda p: p + b"\x00" * 64 + b"PK"),
    "torch zip": _zipped(_torch_members, "m.pt"),
    "torch zip with a head": _packed("h.pt", lambda p: b"#" * 8 + _bytes_of(_torch_members(p))),
    "torchscript": _zipped(_script_members, "s.pt"),
    "torch legacy": _packed("l.pt", _legacy),
    "torch tar": _packed("t.pt", _torch_tar),
    "joblib": _file("j.joblib", b""),
    "joblib zlib": _packed("z.joblib", zlib.compress),
    "joblib gzip": _packed("g.joblib", gzip.compress),
    "joblib bz2": _packed("b.joblib", bz2.compress),
    "joblib xz": _packed("x.joblib", lzma.compress),
    "joblib lzma": _packed("y.joblib", lambda p: lzma.compress(p, lzma.FORMAT_ALONE)),
    "joblib lz4": _packed("4.joblib", _lz4),
    "npy": _packed("a.npy", _npy),
    "npz": _zipped(lambda p: {"a.npy": _npy(p)}, "a.npz"),
    "npz with a pickle": _zipped(lambda p: {"a.npy": p, "b": p}, "p.npz"),
    "pandas gzip": _packed("f.pkl.gz", gzip.compress),
    "pandas bz2": _packed("f.pkl.bz2", bz2.compress),
    "pandas xz": _packed("f.pkl.xz", lzma.compress),
    "pandas zip": _zipped(lambda p: {"x": p}, "f.pkl.zip"),
    "pandas tar": _packed("f.pkl.tar", _tar_of),
}


def _bytes_of(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return held.getvalue()


class _OneWay(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._held = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._held.readinto(buffer)


class _TwoFaced(io.BytesIO):
    """Honest when it is read for the first time, and after every other rewind."""

    def __init__(self, data: bytes) -> None:
        super().__init__(pickle.dumps({"honest": 1}, 2).ljust(len(data), b"\0"))
        self._other = data
        self._turned = False

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset == 0 and whence == 0 and not self._turned and self.tell():
            self._turned = True
            super().seek(0)
            self.write(self._other)
        return super().seek(offset, whence)


class _Own(pickle.Unpickler):
    """A subclass of the person's own, made before the guard came."""


class _OwnNames(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name)


class _OwnPython(pickle._Unpickler):  # type: ignore[name-defined,misc]  # the Python machine is private by name only
    def find_class(self, module: str, name: str) -> Any:
        __import__(module)
        found = __import__("sys").modules[module]
        for part in name.split("."):
            found = getattr(found, part)
        return found


def _opened(load: Callable[[Any], Any], make: Callable[[Path], Any] = lambda path: path.open("rb")) -> Way:
    def way(path: Path) -> Any:
        with make(path) as file:
            return load(file)

    return way


def _memory(path: Path) -> io.BytesIO:
    return io.BytesIO(path.read_bytes())


def _machine(cls: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda file: cls()(file).load()


def _twice(file: Any) -> Any:
    machine = pickle.Unpickler(file)
    return [machine.load(), machine.load()]


def _joblib(path: Any, **how: Any) -> Any:
    import joblib

    return joblib.load(path, **how)


def _numpy(path: Any, **how: Any) -> Any:
    import numpy

    found = numpy.load(path, allow_pickle=True, **how)
    return {name: found[name] for name in found.files} if hasattr(found, "files") else found


def _pandas(path: Any, **how: Any) -> Any:
    import pandas

    return pandas.read_pickle(path, **how)


def _torch(path: Any, **how: Any) -> Any:
    import torch

    return torch.load(path, **how)


def _script(path: Any) -> Any:
    import torch

    return torch.jit.load(path)


def _dill(file: Any) -> Any:
    import dill

    return dill.load(file)


def _cloudpickle(file: Any) -> Any:
    import cloudpickle

    return cloudpickle.load(file)


_PICKLE: dict[str, Way] = {
    "pickle.load": _opened(lambda f: pickle.load(f)),
    "pickle.loads": lambda path: pickle.loads(path.read_bytes()),
    "pickle.loads of an array": lambda path: pickle.loads(bytearray(path.read_bytes())),
    "pickle.load latin1": _opened(lambda f: pickle.load(f, encoding="latin1", fix_imports=True)),
    "pickle.load raw names": _opened(lambda f: pickle.load(f, fix_imports=False)),
    "pickle.Unpickler": _opened(_machine(lambda: pickle.Unpickler)),
    "pickle._Unpickler": _opened(_machine(lambda: pickle._Unpickler)),
    "pickle._loads": lambda path: pickle._loads(path.read_bytes()),
    "bound early load": _opened(early_load),
    "bound early loads": lambda path: early_loads(path.read_bytes()),
    "bound early Unpickler": _opened(_machine(lambda: EarlyMachine)),
    "subclass": _opened(_machine(lambda: _Own)),
    "subclass with find_class": _opened(_machine(lambda: _OwnNames)),
    "Python subclass": _opened(_machine(lambda: _OwnPython)),
    "memory": _opened(lambda f: pickle.load(f), _memory),
    "raw file": _opened(lambda f: pickle.load(f), lambda path: path.open("rb", buffering=0)),
    "one way": _opened(lambda f: pickle.load(f), lambda path: io.BufferedReader(_OneWay(path.read_bytes()))),
    "two faces": _opened(lambda f: pickle.load(f), lambda path: _TwoFaced(path.read_bytes())),
    "two loads": _opened(_twice),
    "joblib.load": _joblib,
    "numpy.load": _numpy,
    "pandas.read_pickle": _pandas,
    "torch.load": lambda path: _torch(path, weights_only=False),
    "dill.load": _opened(_dill),
    "cloudpickle.load": _opened(_cloudpickle),
}
_TORCH: dict[str, Way] = {
    "torch.load": lambda path: _torch(path, weights_only=False),
    "torch.load default": lambda path: _torch(path),
    "torch.load restricted": lambda path: _torch(path, weights_only=True),
    "torch.load mmap": lambda path: _torch(path, weights_only=False, mmap=True),
    "torch.load pickle_module": lambda path: _torch(path, weights_only=False, pickle_module=pickle),
    "torch.load memory": _opened(lambda f: _torch(f, weights_only=False), _memory),
    "torch.load open": _opened(lambda f: _torch(f, weights_only=False)),
    "torch.load two faces": _opened(lambda f: _torch(f, weights_only=False), lambda path: _TwoFaced(path.read_bytes())),
    "torch.jit.load": _script,
}
_JOBLIB: dict[str, Way] = {
    "joblib.load": _joblib,
    "joblib.load mmap": lambda path: _joblib(path, mmap_mode="r"),
    "joblib.load mmap copy": lambda path: _joblib(path, mmap_mode="c"),
    "joblib.load open": _opened(_joblib),
    "joblib.load memory": _opened(_joblib, _memory),
}
_NUMPY: dict[str, Way] = {
    "numpy.load": _numpy,
    "numpy.load mmap": lambda path: _numpy(path, mmap_mode="r"),
    "numpy.load open": _opened(_numpy),
    "numpy.load memory": _opened(_numpy, _memory),
}
_PANDAS: dict[str, Way] = {
    "pandas.read_pickle": _pandas,
    "pandas.read_pickle open": _opened(lambda f: _pandas(f, compression="infer")),
}


def _ways() -> dict[str, dict[str, Way]]:
    by_word = {"pickle": _PICKLE, "torch": _TORCH, "joblib": _JOBLIB, "npy": _NUMPY, "npz": _NUMPY, "pandas": _PANDAS}
    found: dict[str, dict[str, Way]] = {}
    for container in CONTAINERS:
        word = next((w for w in ("torch", "joblib", "npy", "npz", "pandas") if container.startswith(w)), "pickle")
        found[container] = by_word[word]
    found["second pickle"] = {k: v for k, v in _PICKLE.items() if k in ("two loads", "joblib.load", "torch.load")}
    return found


WAYS = _ways()
"""For each container, how its files are loaded."""


def _in_thread(way: Way) -> Way:
    def threaded(path: Path) -> Any:
        out: list[Any] = []

        def run() -> None:
            try:
                out.append((True, way(path)))
            except BaseException as problem:  # noqa: BLE001 - handed on to the caller's thread
                out.append((False, problem))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        fine, result = out[0]
        if not fine:
            raise result
        return result

    return threaded


def _in_task(way: Way) -> Way:
    async def task(path: Path) -> Any:
        return await asyncio.to_thread(way, path)

    return lambda path: asyncio.run(task(path))


PLACES: dict[str, Callable[[Way], Way]] = {"main": lambda way: way, "thread": _in_thread, "task": _in_task}
"""Where the load runs."""
