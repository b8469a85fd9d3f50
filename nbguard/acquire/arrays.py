"""What the process that converts makes of arrays that are not torch's: NumPy files, Keras weights, joblib's.

    arrays, left_out = read("hdf5", file)          # name → numpy array

It runs confined (`nbguard.acquire.converter`). Nothing here calls what a file names: a pickle's few allowed names are
read as classes of this module, and HDF5 links that lead out of the file are not followed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

    Arrays = dict[str, "numpy.ndarray[Any, Any]"]

MAX_NAME = 300
MOST_OBJECTS = 1_000_000
DEEPEST = 64
KERAS_WEIGHTS = "model.weights.h5"
"""What Keras 3 calls the weights inside a `.keras` archive (keras/src/saving/saving_lib.py)."""
TRAINING = ("optimizer", "optimizer_weights")
"""Top groups of a Keras file that hold an optimiser's state, which is no weight of the model."""


class NotDataError(Exception):
    """Not a plain set of tensors; the message is one sentence without its full stop."""


def prepare(kind: str) -> None:
    """Import what reading this kind needs, while files can still be opened."""
    import numpy.lib.npyio

    if kind in ("hdf5", "keras"):
        try:
            import h5py

            with h5py.File("nbguard", "w", driver="core", backing_store=False) as file:
                file.create_group("warm").create_dataset("up", data=numpy.zeros(1))
        except ImportError:
            return
    if kind == "joblib":
        import bz2  # noqa: F401
        import gzip  # noqa: F401
        import lzma  # noqa: F401

        from nbguard.acquire import plain_pickle  # noqa: F401


def read(kind: str, file: IO[bytes], limit: int) -> tuple[Arrays, list[str]]:
    """Name → array in this machine's byte order, and the names of what the file holds besides.

    Args:
        kind: `numpy`, `hdf5`, `keras` or `joblib`.
        limit: bytes that anything compressed may unpack to.

    Raises:
        NotDataError: it holds more than named arrays of numbers.
    """
    left_out: list[str] = []
    if kind == "numpy":
        found = _numpy(file, limit)
    elif kind == "joblib":
        from nbguard.acquire.plain_pickle import load

        found = load(file, limit)
    else:
        if kind == "keras":
            file, left_out = _inside_archive(file, limit)
        found, more = _hdf5(file, limit)
        left_out += more
    if not found:
        raise NotDataError("it holds no arrays")
    return {name: native(name, array) for name, array in found.items()}, left_out


def native(name: str, array: Any) -> Any:
    """The array in this machine's byte order, every bit of each number kept.

    Raises NotDataError where safetensors has no such type.
    """
    if array.dtype.hasobject or array.dtype.names or array.dtype.kind not in "biufc":
        raise NotDataError(
            f"the array {name[:MAX_NAME]!r} holds {str(array.dtype)[:100]}, which safetensors has no type for"
        )
    return array if array.dtype.isnative else array.byteswap().view(array.dtype.newbyteorder("="))


# NumPy


def _numpy(file: IO[bytes], limit: int) -> Arrays:
    import numpy

    packed = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    if packed:
        with zipfile.ZipFile(file) as archive:
            sizes = [(info.filename, info.file_size) for info in archive.infolist()]
        names = [name for name, _ in sizes]
        if len(set(names)) != len(names):
            raise NotDataError("two of its members have the same name")
        if sum(size for _, size in sizes) > limit:
            raise NotDataError(f"it unpacks to more than {limit:,} bytes")
        file.seek(0)
    found = numpy.load(file, allow_pickle=False)
    if isinstance(found, numpy.ndarray):
        return {"array": found}
    arrays: Arrays = {}
    for name in found.files:
        array = found[name]
        if not isinstance(array, numpy.ndarray):
            raise NotDataError(f"its member {name[:MAX_NAME]!r} is no array")
        arrays[name] = array
    return arrays


# Keras, HDF5


def _inside_archive(file: IO[bytes], limit: int) -> tuple[IO[bytes], list[str]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        found = [m for m in members if m.filename == KERAS_WEIGHTS]
        if len(found) != 1:
            raise NotDataError(f"it holds {len(found)} members called {KERAS_WEIGHTS}, where Keras writes one")
        if found[0].file_size > limit:
            raise NotDataError(f"its weights unpack to more than {limit:,} bytes")
        with archive.open(found[0]) as member:
            data = member.read(limit + 1)
    return io.BytesIO(data), [m.filename for m in members if m.filename != KERAS_WEIGHTS]


def _hdf5(file: IO[bytes], limit: int) -> tuple[Arrays, list[str]]:
    try:
        import h5py
    except ImportError:
        raise NotDataError("reading HDF5 needs the package h5py, which is not installed here") from None

    arrays: Arrays = {}
    with h5py.File(file, "r") as root:
        left_out = [name for name in TRAINING if isinstance(root.get(name, getclass=True, getlink=True), type)]
        left_out += sorted(f"attribute {name}" for name in root.attrs)[:100]
        for name, dataset in _datasets(root):
            if dataset.shape is not None:
                limit -= dataset.nbytes
            if limit < 0:
                raise NotDataError("its numbers take more room than what was set for them")
            arrays[name] = _dataset(name, dataset)
    return arrays, left_out


def _datasets(root: Any) -> Iterator[tuple[str, Any]]:
    """(path, dataset) of everything below; a file whose links go round or lead elsewhere is refused."""
    import h5py

    seen: set[Any] = set()
    open_groups = [("", root, 0)]
    count = 0
    while open_groups:
        path, group, depth = open_groups.pop()
        if depth > DEEPEST:
            raise NotDataError(f"its groups are nested more than {DEEPEST} deep")
        for key in group:
            if not path and key in TRAINING:
                continue
            name, count = f"{path}{key}", count + 1
            if count > MOST_OBJECTS:
                raise NotDataError(f"it holds more than {MOST_OBJECTS:,} objects")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise NotDataError(f"{name[:MAX_NAME]!r} in it is a link to something else")
            inner = group[key]
            if isinstance(inner, h5py.Dataset):
                yield name, inner
                continue
            if not isinstance(inner, h5py.Group):
                raise NotDataError(f"{name[:MAX_NAME]!r} in it is neither a group nor a dataset")
            place = h5py.h5o.get_info(inner.id).addr
            if place in seen:
                raise NotDataError(f"the group {name[:MAX_NAME]!r} stands in it twice")
            seen.add(place)
            open_groups.append((f"{name}/", inner, depth + 1))


def _dataset(name: str, dataset: Any) -> Any:
    import numpy

    if dataset.shape is None:
        raise NotDataError(f"the dataset {name[:MAX_NAME]!r} has no shape")
    if dataset.is_virtual or dataset.external:
        raise NotDataError(f"the dataset {name[:MAX_NAME]!r} takes its numbers from another file")
    if dataset.dtype.kind not in "biufc" or dataset.dtype.names:  # before anything of it is read
        held = "text or objects" if dataset.dtype.kind in "OSU" else str(dataset.dtype)[:100]
        raise NotDataError(f"the dataset {name[:MAX_NAME]!r} holds {held}, which safetensors has no type for")
    return numpy.asarray(dataset[()])
