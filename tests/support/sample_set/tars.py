"""Tars of Python's writer, and every way they can name, link, hide and lie."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

from sample_set import MARKER, Sample, written
from sample_set.compressed import GOOD, HARM


def tarred(*members: tuple[str, bytes | None] | tarfile.TarInfo, format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of Python's writer; a TarInfo stands for an entry without bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1] or b"")
            archive.addfile(info, io.BytesIO(member[1] or b""))
    return out.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def two_sizes() -> bytes:
    """The extended header says 1024, the plain one 0: who goes by the plain one finds another entry in the data."""
    inner = tarred(("evil.pkl", HARM))[:1024]
    info = tarfile.TarInfo("data.bin")
    info.size, info.pax_headers = len(inner), {"size": str(len(inner))}
    head = bytearray(info.tobuf(tarfile.PAX_FORMAT))
    at = len(head) - 512
    head[at + 124 : at + 136] = b"00000000000\0"
    head[at + 148 : at + 156] = b" " * 8
    head[at + 148 : at + 156] = b"%06o\0 " % sum(head[at:])
    return bytes(head) + inner + bytes(1024)


def two_names() -> bytes:
    """A GNU long name and a pax path for one entry."""
    long = tarfile.TarInfo("a" * 150 + ".txt").tobuf(tarfile.GNU_FORMAT)[:1024]
    info = tarfile.TarInfo("x")
    info.pax_headers = {"path": "../" * 3 + MARKER}
    return long + info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)


def damaged_header() -> bytes:
    data = bytearray(tarred(("a.txt", b"text"), ("b.pkl", HARM)))
    data[1024 + 3] ^= 255
    return bytes(data)


def _torch_tar(program: bytes) -> bytes:
    import pickle

    one = pickle.dumps(0, 2)
    return tarred(("storages", one + pickle.dumps([], 2)), ("tensors", one), ("pickle", program))


def _tar(name: str, build: Callable[[], bytes], verdict: str, trick: str, rule: str = "") -> Sample:
    return Sample(f"tar/{name}", "tar", written("m.tar", build), (verdict,), rule=rule, trick=trick, loads=unpack_tar)


def unpack_tar(place: Path) -> None:
    """As tarfile did without asking before 3.14."""
    target = place.parent / "out" / "deep"
    target.mkdir(parents=True)
    with tarfile.open(place) as archive:
        archive.extractall(target, filter="fully_trusted")


def _honest(name: str, build: Callable[[], bytes]) -> Sample:
    return Sample(f"tar/{name}", "tar", written("m.tar", build), ("safe",), honest=True)


_TEXT, _PICKLE = ("m/readme.txt", b"a model"), ("m/w.pkl", GOOD)
SAMPLES = (
    _honest("honest-gnu", lambda: tarred(_TEXT, _PICKLE, ("m/empty", b""), ("m/" + "n" * 150, b"long"))),
    _honest("honest-pax", lambda: tarred(_TEXT, ("m/ü" + "n" * 150, b"x"), format=tarfile.PAX_FORMAT)),
    _honest("honest-ustar", lambda: tarred(_TEXT, ("d" * 90 + "/" + "n" * 90, b"x"), format=tarfile.USTAR_FORMAT)),
    _honest("honest-links", lambda: tarred(
        _TEXT, entry("m/l.txt", tarfile.SYMTYPE, "readme.txt"), entry("m/h.txt", tarfile.LNKTYPE, "m/readme.txt"),
        entry("m/up.txt", tarfile.SYMTYPE, "../m/readme.txt"), entry("folder", tarfile.DIRTYPE),
    )),
    _tar("harm", lambda: tarred(_TEXT, ("m/w.pkl", HARM)), "danger", "A pickle in it starts a shell.", "pickle.gadget"),
    _tar("escape", lambda: tarred((f"../{MARKER}", b"x")), "danger", "It writes outside of the folder.",
        "archive.path"),
    _tar("link-out", lambda: tarred(entry("l", tarfile.SYMTYPE, ".."), (f"l/{MARKER}", b"x")), "danger",
         "A link leads out, and a file is written through it.", "archive.link"),
    _tar("link-chain", lambda: tarred(entry("a", tarfile.SYMTYPE, "."), entry("b", tarfile.SYMTYPE, "a/.."),
                                      (f"b/{MARKER}", b"x")), "danger", "The same over two links.", "archive.link"),
    _tar("hard-link-out", lambda: tarred(entry("l", tarfile.LNKTYPE, "../../m.tar")), "danger",
         "A hard link to a file of the machine.", "archive.link"),
    _tar("device", lambda: tarred(entry("null", tarfile.CHRTYPE)), "danger", "A device.", "archive.device"),
    _tar("pipe", lambda: tarred(entry("p", tarfile.FIFOTYPE)), "unverifiable", "A pipe.", "archive.device"),
    _tar("twice", lambda: tarred(("a", b"x"), ("a", b"y")), "unverifiable", "Two files of one name.",
         "tar.duplicate-member"),
    _tar("two-sizes", two_sizes, "danger", "Two sizes, so that readers find different entries.", "tar.two-sizes"),
    _tar("two-names", two_names, "danger", "Two long names, of which readers take different ones.", "tar.two-names"),
    _tar("damaged-header", damaged_header, "danger", "Behind a damaged header only some readers go on.", "tar.header"),
    _tar("behind-the-end", lambda: tarred(_TEXT) + tarred(("b.txt", b"x")), "unverifiable",
         "A second tar behind the end of the first.", "tar.trailing"),
    _tar("cut-off", lambda: tarred(("a.bin", bytes(5000)))[:2048], "unverifiable", "Its end is missing.",
        "tar.truncated"),
    Sample("torch-tar/plain", "torch-tar", written("m.tar", lambda: _torch_tar(GOOD)), ("safe", "review")),
    Sample("torch-tar/harm", "torch-tar", written("m.tar", lambda: _torch_tar(HARM)), ("danger",), rule="pickle.gadget",
           trick="Its pickle starts a shell."),
    Sample("torch-tar/link", "torch-tar", written("m.tar", lambda: tarred(
        ("storages", GOOD), ("tensors", GOOD), entry("pickle", tarfile.SYMTYPE, "/etc/passwd"))), ("danger",),
        rule="tar.link", trick="The pickle is a link to a file of the machine."),
)  # fmt: skip
