"""Zips of their own writers, and every way they can name, link, hide and lie."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

from sample_set import Sample, written
from sample_set.compressed import GOOD, HARM, zstd


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED, modes: dict[str, int] | None = None) -> bytes:
    """A zip of Python's writer. `modes`: Unix modes of members, with their kind."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal names are what some of these are about
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in members:
                info = zipfile.ZipInfo(name)
                info.compress_type, info.create_system = method, 3
                info.external_attr = (modes or {}).get(name, 0o100644) << 16
                archive.writestr(info, data)
    return out.getvalue()


def streamed(*members: tuple[str, bytes]) -> bytes:
    """A zip that was written where nobody could go back: descriptors behind the data."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            super().__init__()
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return pipe.data


def fifield(files: int = 40, size: int = 1 << 20) -> bytes:
    """Many entries of the directory over one and the same packed bytes (Fifield, "A better zip bomb", full overlap)."""
    one = zipped(("0", bytes(size)), method=zipfile.ZIP_DEFLATED)
    at = one.index(b"PK\x01\x02")
    entry, end = one[at : one.index(b"PK\x05\x06")], one[one.index(b"PK\x05\x06") :]
    end = end[:8] + struct.pack("<2H2L", files, files, len(entry) * files, at) + end[20:]
    return one[:at] + entry * files + end


def descriptor_lies() -> bytes:
    data = bytearray(streamed(("a.txt", b"text" * 50)))
    at = data.index(b"PK\x07\x08")
    data[at + 8] ^= 255
    return bytes(data)


def local_lies() -> bytes:
    data = bytearray(zipped(("a.txt", b"text" * 50)))
    data[22:26] = struct.pack("<L", 9)
    return bytes(data)


def hidden_entry() -> bytes:
    """An entry in front that the directory does not name; a reader of streams sees it, `zipfile` does not."""
    hidden, whole = zipped(("evil.pkl", HARM)), zipped(("a.txt", b"text"))
    front = hidden[: hidden.index(b"PK\x01\x02")]
    at = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    central = whole[at : at + 42] + struct.pack("<L", len(front)) + whole[at + 46 : end]
    tail = whole[end : end + 16] + struct.pack("<L", at + len(front)) + whole[end + 20 :]
    return front + whole[:at] + central + tail


def two_wide_sizes() -> bytes:
    data = zipped(("a.txt", b"text"))
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    extra = struct.pack("<2HQ", 1, 8, 4) + struct.pack("<2HQ", 1, 8, 9)
    entry = bytearray(data[at:end])
    entry[24:28], entry[30:32] = b"\xff" * 4, struct.pack("<H", len(extra))
    tail = data[end:]
    tail = tail[:12] + struct.pack("<L", len(entry) + len(extra)) + tail[16:]
    return data[:at] + bytes(entry) + extra + tail


def encrypted() -> bytes:
    data = bytearray(zipped(("a.txt", b"text" * 9)))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def quine(depth: int = 9) -> bytes:
    data = zipped(("a.pkl", HARM))
    for _ in range(depth):
        data = zipped(("inner.zip", data))
    return data


def zstd_zip() -> bytes:
    """Method 93, as newer writers use; put together here, for Python's own knows it from 3.14 on."""
    raw, name = GOOD, b"w.pkl"
    packed = zstd.compress(raw)
    common = struct.pack("<2H2H3L2H", 0, 93, 0, 33, zlib.crc32(raw), len(packed), len(raw), len(name), 0)
    front = b"PK\x03\x04" + struct.pack("<H", 63) + common + name + packed
    central = b"PK\x01\x02" + struct.pack("<2H", 63, 63) + common + struct.pack("<3H2L", 0, 0, 0, 0, 0) + name
    return front + central + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, len(central), len(front), 0)


@cache
def _npz() -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.savez(out, W=np.zeros(3), w=np.ones(2))
    return out.getvalue()


def _npz_object() -> bytes:
    import numpy as np

    inner = io.BytesIO()
    np.save(inner, np.array([None], dtype=object), allow_pickle=True)
    head = inner.getvalue()[: inner.getvalue().index(b"\n") + 1]
    return zipped(("a.npy", head + HARM))


def _torch() -> bytes:
    import torch

    out = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, out)
    return out.getvalue()


def _torch_packed() -> bytes:
    return zipped(("m/data.pkl", GOOD), ("m/version", b"3\n"), method=zipfile.ZIP_BZIP2)


def _zip(
    name: str, build: Callable[[], bytes], verdict: str, trick: str, rule: str = "", *, as_: str = "zip"
) -> Sample:
    return Sample(f"{as_}/{name}", as_, written("m.zip", build), (verdict,), rule=rule, trick=trick)


def _honest(name: str, kind: str, build: Callable[[], bytes], *needs: str) -> Sample:
    return Sample(f"{kind}/{name}", kind, written(f"m.{kind}", build), ("safe",), honest=True, needs=needs)


LINK = stat.S_IFLNK | 0o777
_TEXT, _PICKLE = ("m/readme.txt", b"a model"), ("m/w.pkl", GOOD)
SAMPLES = (
    *(
        _honest(f"honest-{n}", "zip", lambda m=m: zipped(_TEXT, _PICKLE, ("m/empty", b""), method=m))
        for n, m in (("stored", 0), ("deflate", 8), ("bzip2", 12), ("lzma", 14))
    ),
    _honest("honest-zstd", "zip", zstd_zip),
    _honest("honest-stream", "zip", lambda: streamed(_TEXT, _PICKLE)),
    _honest("honest-link", "zip", lambda: zipped(_TEXT, ("m/l.txt", b"readme.txt"), modes={"m/l.txt": LINK})),
    _honest("honest", "npz", _npz, "numpy"),
    _honest("honest", "torch-zip", _torch, "torch"),
    *(
        _zip(f"harm-{n}", lambda m=m: zipped(_TEXT, ("m/w.pkl", HARM), method=m), "danger",
            "A pickle in it starts a shell.",
             "pickle.gadget")
        for n, m in (("stored", 0), ("deflate", 8), ("bzip2", 12), ("lzma", 14))
    ),
    _zip("escape", lambda: zipped(("../../.bashrc", b"x")), "danger", "It writes outside of the folder.",
        "archive.path"),
    _zip("root", lambda: zipped(("/etc/cron.d/x", b"x")), "danger", "It writes to a place of the machine.",
        "archive.path"),
    _zip("drive", lambda: zipped(("C:/x", b"x")), "danger", "It names a drive of Windows.", "archive.path"),
    _zip("backslash", lambda: zipped(("..\\..\\x", b"x")), "danger", "The same for Windows' unpackers.",
        "archive.path"),
    _zip("late-escape", lambda: zipped(("a/b/../../../x", b"x")), "danger", "It goes in before it goes out.",
        "archive.path"),
    _zip("link-out", lambda: zipped(("l", b"../../etc"), modes={"l": LINK}), "danger", "A link leads out.",
        "archive.link"),
    _zip("link-chain", lambda: zipped(("a", b"."), ("b", b"a/.."), modes={"a": LINK, "b": LINK}), "danger",
         "A link that looks inside leads out over another one.", "archive.link"),
    _zip("through-link", lambda: zipped(("d/x.txt", b"x"), ("l", b"d"), ("l/x.txt", b"y"), modes={"l": LINK}),
         "unverifiable", "A member is written through a link.", "archive.through-link"),
    _zip("dangling", lambda: zipped(_TEXT, ("l", b"elsewhere"), modes={"l": LINK}), "review",
         "A link to whatever lies in the folder already.", "archive.dangling-link"),
    _zip("device", lambda: zipped(("d", b""), modes={"d": stat.S_IFBLK | 0o666}), "danger", "A device.",
        "archive.device"),
    _zip("accents", lambda: zipped(("m/\u00e9.txt", b"x"), ("m/e\u0301.txt", b"y")), "review",
         "Two names that are one on macOS.", "archive.same-name"),
    _zip("turned", lambda: zipped(("m/\u202etxt.exe", b"x")), "review", "A name that turns the text around.",
         "archive.name"),
    _zip("fifield", fifield, "unverifiable", "Forty entries over the same bytes.", "zip.overlap"),
    _zip("quine", quine, "unverifiable", "Zips in zips, deeper than anybody follows.", "limits.depth"),
    _zip("descriptor", descriptor_lies, "unverifiable", "The descriptor contradicts the directory.", "zip.descriptor"),
    _zip("local", local_lies, "unverifiable", "The entry's own header has another size.", "zip.sizes"),
    _zip("hidden", hidden_entry, "unverifiable", "An entry that the directory does not name.", "zip.hidden-entry"),
    _zip("wide", two_wide_sizes, "unverifiable", "Two 64-bit sizes.", "zip.zip64"),
    _zip("encrypted", encrypted, "unverifiable", "Only who has the password can look into it.", "zip.encrypted"),
    _zip("objects", _npz_object, "danger", "An array of objects starts a shell.", "pickle.gadget", as_="npz"),
    _zip("twice", lambda: zipped(("a.npy", _npz()), ("a.npy", b"")), "unverifiable", "Two arrays of one name.",
         "zip.duplicate-member", as_="npz"),
    _zip("harm", lambda: zipped(("m/data.pkl", HARM), ("m/version", b"3\n")), "danger", "Its pickle starts a shell.",
         "pickle.gadget", as_="torch-zip"),
    _zip("packed", _torch_packed, "unverifiable", "Packed as PyTorch's reader cannot unpack it.", "zip.method",
         as_="torch-zip"),
)  # fmt: skip
