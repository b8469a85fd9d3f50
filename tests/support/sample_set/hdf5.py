"""HDF5: what h5py writes in its several ways, and files that reach out of themselves."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sample_set import COMMAND, MARKER, Sample, written
from sample_set.keras import NEEDS as KERAS
from sample_set.keras import saved

NEEDS = ("h5py", "numpy")


def file(write: Callable[[Any], object] = lambda held: None, libver: str = "earliest", **more: Any) -> bytes:
    import h5py
    import numpy as np

    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=libver, **more) as held:
        held.create_dataset("layers/dense/vars/0", data=np.ones((3, 4), "f4"))
        write(held)
    return stream.getvalue()


def everything(held: Any) -> None:
    """Attributes, compressed chunks, texts, records, references, links within the file."""
    import h5py
    import numpy as np

    held.attrs["layer_names"] = [f"layer_{n}" for n in range(50)]
    held.attrs["text"] = "ü" * 1000
    held.create_dataset("chunks", data=np.zeros((50, 50)), chunks=(10, 10), compression="gzip", shuffle=True)
    held.create_dataset("lzf", data=np.zeros(100), chunks=(10,), compression="lzf", fletcher32=True)
    held.create_dataset("texts", data=["a", "b"], dtype=h5py.string_dtype())
    held.create_dataset("records", data=np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,))]))
    held.create_dataset("references", data=[held["chunks"].ref, held["/"].ref], dtype=h5py.ref_dtype)
    held.attrs["reference"] = held["chunks"].ref
    held.create_dataset("grows", (5,), maxshape=(None,), data=np.arange(5))
    held.create_dataset("empty", data=h5py.Empty("f4"))
    held["soft"] = h5py.SoftLink("/chunks")
    held["hard"] = held["chunks"]


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


def linked(target: str) -> Callable[[], bytes]:
    def write(held: Any) -> None:
        import h5py

        held["away"] = h5py.ExternalLink(target, "/x")

    return lambda: file(write)


def linked_many() -> bytes:
    """The link is one of so many that they are kept in another way."""

    def write(held: Any) -> None:
        import h5py

        for n in range(200):
            held.create_group(f"group {n}")
        held["zz"] = h5py.ExternalLink("/etc/passwd", "/x")

    return file(write, "latest")


def outside(held: Any) -> None:
    held.create_dataset("o", (8,), dtype="u1", external=[("/etc/passwd", 0, 8)])


def virtual(held: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "d", (4,))
    held.create_virtual_dataset("virtual", layout)


def plug_in() -> bytes:
    import numpy as np

    data = bytearray(file(lambda f: f.create_dataset("c", data=np.zeros(100), chunks=(10,), compression="lzf")))
    at = data.index((32000).to_bytes(2, "little") + b"\x08\0")
    data[at : at + 2] = (32015).to_bytes(2, "little")
    return bytes(data)


def pickled_attribute(held: Any) -> None:
    import numpy as np

    held.attrs["object"] = np.bytes_(pickle.dumps(Payload(), 0))


def objects(payload: object, **how: Any) -> Callable[[Any], None]:
    """As PyTables stores objects, and pandas a column of them."""

    def write(held: Any) -> None:
        import h5py
        import numpy as np

        made = held.create_dataset("values", (1,), dtype=h5py.vlen_dtype(np.uint8), **how)
        made[0] = np.frombuffer(pickle.dumps(payload), np.uint8)
        made.attrs["CLASS"] = np.bytes_("VLARRAY")
        made.attrs["PSEUDOATOM"] = np.bytes_("object")

    return write


def large(libver: str) -> Callable[[], bytes]:
    return lambda: file(lambda f: f.create_dataset("bomb", (1 << 40,), dtype="f4", chunks=(1024,)), libver)


def loop() -> bytes:
    """A group's tree of names leads back to its own beginning."""
    data = bytearray(file())
    at = data.index(b"TREE")
    struct.pack_into("<BBH", data, at + 4, 0, 1, 1)  # a level above the lowest
    struct.pack_into("<Q", data, at + 24 + 8, at)
    return bytes(data)


def damaged(find: bytes, behind: int, value: bytes) -> Callable[[], bytes]:
    def write() -> bytes:
        data = file()
        at = data.index(find) + behind
        return data[:at] + value + data[at + len(value) :]

    return write


def behind_a_block() -> bytes:
    """A pickle in the user's own block, before the file that h5py sees."""
    data = file(lambda f: f.__setitem__("x", [1.0]), userblock_size=512)
    return pickle.dumps(Payload()).ljust(512, b"\0") + data[512:]


def follows(path: Path) -> None:
    """h5py opens the other file, when the link is followed."""
    import h5py

    with h5py.File(Path("other.h5"), "w") as held:
        held["x"] = [42]
    with h5py.File(path) as held:
        assert held["away"][0] == 42


def reads(path: Path) -> None:
    """The numbers are those of the other file."""
    import h5py

    with h5py.File(path) as held:
        assert bytes(held["o"][:]) == Path("/etc/passwd").read_bytes()[:8]


def unpickles(path: Path) -> None:
    """What PyTables does with each value (`tables/atom.py`, `ObjectAtom.fromarray`)."""
    import h5py

    with h5py.File(path) as held:
        pickle.loads(held["values"][0].tobytes())
    assert Path(MARKER).exists()


SAMPLES = (
    *(
        Sample(
            f"hdf5/{libver}", "hdf5", written("w.h5", lambda libver=libver: file(everything, libver)), ("safe",),
            honest=True, needs=NEEDS,
        )
        for libver in ("earliest", "latest")
    ),
    Sample(
        "hdf5/keras-weights", "hdf5", written("m.weights.h5", lambda: saved("functional", ".weights.h5")), ("safe",),
        honest=True, needs=KERAS,
    ),
    Sample(
        "hdf5/objects", "hdf5", written("frame.h5", lambda: file(objects([1, "a"]))), ("safe",), needs=NEEDS,
    ),
    *(
        Sample(
            f"hdf5/{name}", "hdf5", written("w.h5", make), ("danger",), rule="hdf5.external-link", trick=trick,
            needs=NEEDS, loads=follows if name == "link" else None,
        )
        for name, trick, make in (
            ("link", "A link leads into another file.", linked("other.h5")),
            ("link-of-the-machine", "A link leads into a file of the machine.", linked("/etc/passwd")),
            ("link-among-many", "A link leads away, among so many that they are kept in another way.", linked_many),
        )
    ),
    Sample(
        "hdf5/storage-outside", "hdf5", written("w.h5", lambda: file(outside)), ("danger",),
        rule="hdf5.external-storage", trick="The numbers are those of another file.", needs=NEEDS, loads=reads,
    ),
    Sample(
        "hdf5/virtual", "hdf5", written("w.h5", lambda: file(virtual, "latest")), ("danger",), rule="hdf5.virtual",
        trick="The numbers are put together from other files.", needs=NEEDS,
    ),
    Sample(
        "hdf5/plug-in", "hdf5", written("w.h5", plug_in), ("review",), rule="hdf5.filter",
        trick="The data goes through a filter, which the library loads as native code by its number.", needs=NEEDS,
    ),
    Sample(
        "hdf5/pickle-in-an-attribute", "hdf5", written("frame.h5", lambda: file(pickled_attribute)), ("danger",),
        trick="PyTables and pandas unpickle attributes.", needs=NEEDS,
    ),
    Sample(
        "hdf5/pickles-in-a-column", "hdf5", written("frame.h5", lambda: file(objects(Payload()))), ("danger",),
        rule="pickle.gadget", trick="PyTables and pandas unpickle the values of a column.", needs=NEEDS,
        loads=unpickles,
    ),
    Sample(
        "hdf5/pickles-in-compressed-chunks", "hdf5",
        written("frame.h5", lambda: file(objects(Payload(), chunks=(1,), compression="gzip"))),
        ("unverifiable", "danger"),
        rule="hdf5.malformed", trick="The column's places are compressed.", needs=NEEDS,
    ),
    Sample(
        "hdf5/pickle-before-it", "hdf5", written("w.h5", behind_a_block), ("danger",),
        trick="A pickle lies in the block before the file.", needs=NEEDS,
    ),
    *(
        Sample(
            f"hdf5/terabytes-{libver}", "hdf5", written("w.h5", large(libver)), ("unverifiable",), rule="hdf5.size",
            trick="A few bytes claim to be terabytes.", needs=NEEDS,
        )
        for libver in ("earliest", "latest")
    ),
    *(
        Sample(
            f"hdf5/{name}", "hdf5", written("w.h5", make), ("unverifiable",), rule="hdf5.malformed", trick=trick,
            needs=NEEDS,
        )
        for name, trick, make in (
            ("loop", "A tree of names leads back to its own beginning.", loop),
            ("heap-outside", "The names of a group lie outside of the file.",
             damaged(b"HEAP", 24, b"\xff\xff\xff\x7f\0\0\0\0")),
            ("heap-too-large", "The names of a group are said to be larger than any.",
             damaged(b"HEAP", 8, b"\xff\xff\xff\xff\xff\0\0\0")),
            ("cut-off", "The file breaks off.", lambda: file()[:700]),
        )
    ),
)  # fmt: skip
