"""Tars, read as Python's `tarfile` reads them, and where other readers would read something else.

    directory = read_tar(view)
    for entry in directory.entries:
        Part(view, entry.data, entry.size)

Loaders of models unpack tars with `tarfile` (`torch.load`, NeMo), people with GNU tar or bsdtar. Whatever they could
disagree on is a `problem`: two names or two sizes for one entry, entries behind the end, numbers that only one of them
reads. Sources: CPython's `Lib/tarfile.py`, POSIX `pax`, GNU tar's manual ("Tar Internals").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nbguard.formats.torch_legacy import is_tar
from nbguard.formats.view import View

BLOCK = 512
MAX_ENTRIES = 200_000
MAX_EXTENSION = 1 << 20
"""Bytes of one extended header; names and links are all that readers take from it."""
_MAX_TAIL = 256 << 20
"""Bytes behind the end that are looked through for something else than zeros."""
_MAX_LOST = 100_000
"""Blocks that are passed over in search of the next header, behind a damaged one."""
_NUMBER = re.compile(rb"[ \0]*[0-7]*[ \0]*\Z")
_RECORD = re.compile(rb"(\d{1,10}) ([^=\n]+)=")
_ZERO = bytes(BLOCK)
_OTHER_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
"""Mode, owner, group, time, and the two numbers of a device."""
_FILES = (b"0", b"\0", b"7")
_KINDS = {b"1": "hardlink", b"2": "link", b"3": "device", b"4": "device", b"5": "folder", b"6": "fifo", b"S": "sparse"}
_OVERRIDES = ("path", "linkpath", "size")


class TarError(ValueError):
    """This is no tar that can be read. The message is one plain sentence."""


@dataclass(frozen=True)
class TarEntry:
    """One entry, as `tarfile` sees it."""

    name: str
    kind: str
    """`file`, `folder`, `link`, `hardlink`, `device`, `fifo`, `sparse`, or `unknown` (for tarfile a file)."""
    target: str
    """Of a link; else empty or without meaning."""
    data: int
    """Of the first byte of the data, from the start of the tar."""
    size: int
    mode: int
    also: str = ""
    """Another name that other readers give it."""


@dataclass
class TarDirectory:
    """All entries in their order, and what makes the reading doubtful."""

    entries: list[TarEntry] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(rule, sentence)"""
    end: int = 0
    """The offset behind the last entry."""

    def doubt(self, rule: str, sentence: str) -> None:
        if (rule, sentence) not in self.problems and len(self.problems) < 50:
            self.problems.append((rule, sentence))


@dataclass
class _Pending:
    """What extended headers say of the entry that follows them."""

    long_name: bytes | None = None
    long_link: bytes | None = None
    pax: dict[str, bytes] = field(default_factory=dict)


def read_tar(view: View) -> TarDirectory:
    """Read every header.

    Raises:
        TarError: it does not begin with one, or there are more than any model's tar has.
    """
    if not is_tar(view.read(0, BLOCK)):
        raise TarError("It does not begin with the header of a tar.")
    out, at, lost = TarDirectory(), 0, 0
    pending, common = _Pending(), dict[str, bytes]()
    while True:
        block = view.read(at, BLOCK)
        if len(block) < BLOCK or block == _ZERO:
            break
        if not is_tar(block):
            # tarfile takes this for the end without a word; GNU tar goes on at the next header that it finds.
            out.doubt("tar.header", "A header in the middle is damaged: some readers stop there, others go on.")
            lost += 1
            if lost > _MAX_LOST:
                break
            at += BLOCK
            continue
        if len(out.entries) >= MAX_ENTRIES:
            raise TarError("The tar holds more entries than any model's.")
        for start, end in _OTHER_NUMBERS:
            _number(out, block[start:end])  # tarfile takes a header with a bad one for the end of the tar
        kind = block[156:157]
        if kind in (b"L", b"K", b"x", b"X", b"g"):
            at = _extension(view, out, block, at, pending, common)
        else:
            at = _entry(view, out, block, at, pending, common)
            pending = _Pending()
    if 0 < len(block) < BLOCK:
        out.doubt("tar.truncated", "The tar is cut off.")
    if pending != _Pending():
        out.doubt("tar.header", "The tar ends with the name of an entry that is not there.")
    out.end = at
    _check_tail(view, out, at)
    return out


def _extension(
    view: View, out: TarDirectory, block: bytes, at: int, pending: _Pending, common: dict[str, bytes]
) -> int:
    """Take over what an extended header says; the offset behind it."""
    size = _number(out, block[124:136])
    if not 0 <= size <= MAX_EXTENSION or at + BLOCK + size > view.size:
        raise TarError("A long name in the tar is longer than any real one, or cut off.")
    data = view.read(at + BLOCK, size)
    kind = block[156:157]
    if kind in (b"L", b"K"):
        which = "long_name" if kind == b"L" else "long_link"
        if getattr(pending, which) is not None:
            out.doubt("tar.two-names", "An entry has two long names; readers take different ones.")
        setattr(pending, which, data.split(b"\0", 1)[0])
    else:
        records = _records(out, data)
        if kind == b"g" and any(k in _OVERRIDES or k.startswith("GNU.sparse") for k in records):
            out.doubt("tar.global", "A header gives all entries that follow one name, link or size.")
        if kind != b"g" and pending.pax:
            out.doubt("tar.two-names", "An entry has two extended headers; readers take different ones.")
        (common if kind == b"g" else pending.pax).update(records)
    return at + BLOCK + _padded(size)


def _records(out: TarDirectory, data: bytes) -> dict[str, bytes]:
    """`length key=value` and a line feed, end to end."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data) and data[at] != 0:
        match = _RECORD.match(data, at)
        length = int(match[1]) if match else 0
        if not match or at + length > len(data) or length <= match.end() - at or data[at + length - 1] != 10:
            out.doubt("tar.extended", "An extended header is damaged; readers make different things of it.")
            break
        key = match[2].decode("utf-8", "surrogateescape")
        if key in found and key in _OVERRIDES:
            out.doubt("tar.two-names", f"An extended header gives the {key} of an entry twice.")
        found[key] = data[match.end() : at + length - 1]
        at += length
    return found


def _entry(view: View, out: TarDirectory, block: bytes, at: int, pending: _Pending, common: dict[str, bytes]) -> int:
    """Add the entry whose own header this is; the offset behind its data."""
    kind = "file" if block[156:157] in _FILES else _KINDS.get(block[156:157], "unknown")
    pax = {**common, **pending.pax}
    name, target, also = _names(out, block, kind, pending, pax)
    if block[156:157] == b"\0" and block[:100].split(b"\0", 1)[0].endswith(b"/"):
        kind = "folder"
    size = _size(out, block, pax)
    data = at + BLOCK
    if any(k.startswith("GNU.sparse") for k in pax):
        kind = "sparse"
    if kind == "sparse":
        out.doubt("tar.sparse", f"The entry {name[:100]} has holes in it, which not all readers fill alike.")
        data = _behind_map(view, data, block)
    elif kind == "unknown":
        out.doubt("tar.kind", f"The entry {name[:100]} is of a kind that not all readers know.")
    mode = _number(out, block[100:108])
    holds = kind in ("file", "sparse", "unknown")
    if size and not holds:
        out.doubt("tar.sizes", f"The entry {name[:100]} is no file and has a size: readers disagree on what follows.")
    if size < 0:
        raise TarError("An entry of the tar has a negative size.")
    if holds and data + size > view.size:
        out.doubt("tar.truncated", f"The entry {name[:100]} reaches beyond the end of the file.")
    out.entries.append(TarEntry(name, kind, target, data, size if holds else 0, mode & 0o7777, also))
    return data + (_padded(size) if holds else 0)


def _names(
    out: TarDirectory, block: bytes, kind: str, pending: _Pending, pax: dict[str, bytes]
) -> tuple[str, str, str]:
    """(name, target, another name) of the entry; that two places name it differently is a doubt."""
    raw, link, prefix = (part.split(b"\0", 1)[0] for part in (block[:100], block[157:257], block[345:500]))
    if prefix and kind != "sparse" and block[156:157] not in (b"M", b"V", b"D", b"N"):
        if not block[257:263].startswith(b"ustar\0"):
            out.doubt("tar.prefix", "An entry's name has a first part that not all readers put in front of it.")
        raw = prefix + b"/" + raw
    also = ""
    for long, key in ((pending.long_name, "path"), (pending.long_link, "linkpath")):
        if long is not None and key in pax and long.rstrip(b"/") != pax[key].rstrip(b"/"):
            out.doubt("tar.two-names", "An entry has two long names; readers take different ones.")
            also = _text(pax["path"]) if key == "path" else also
    name = pending.long_name if pending.long_name is not None else pax.get("path", raw)
    target = pending.long_link if pending.long_link is not None else pax.get("linkpath", link)
    return _text(name).rstrip("/") or "/" * bool(name), _text(target), also


def _size(out: TarDirectory, block: bytes, pax: dict[str, bytes]) -> int:
    size = _number(out, block[124:136])
    if "size" not in pax:
        return size
    try:
        wide = int(pax["size"])
    except ValueError:
        out.doubt("tar.extended", "The size in an extended header is no number.")
        return size
    if wide != size and wide < 8**11:
        # Writers leave the short field only where the number does not fit into it; readers that skip the wrong number
        # of bytes find other entries (CVE-2025-62518 was such a pair of readers).
        out.doubt("tar.two-sizes", "An entry has two sizes; readers disagree on where the next one begins.")
    return wide


def _behind_map(view: View, data: int, block: bytes) -> int:
    """The offset behind the further blocks of the table of holes of an old GNU sparse entry."""
    more = block[156:157] == b"S" and block[482]
    for _ in range(10_000):
        if not more:
            return data
        further = view.read(data, BLOCK)
        data += BLOCK
        more = len(further) == BLOCK and further[504]
    raise TarError("The table of holes of an entry does not end.")


def _number(out: TarDirectory, text: bytes) -> int:
    """Octal digits, or base 256 with the first bit set (`tarfile.nti`)."""
    if text[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(text[1:], "big")
        return value - 256 ** (len(text) - 1) if text[0] == 0xFF else value
    if not _NUMBER.match(text):
        out.doubt("tar.number", "A number in a header is written in a way that not all readers read.")
    digits = re.search(rb"[0-7]+", text.split(b"\0", 1)[0])
    return int(digits[0], 8) if digits else 0


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode("utf-8", "replace")


def _check_tail(view: View, out: TarDirectory, at: int) -> None:
    """Behind the end there are zeros, which fill up a block of a tape; anything else is for other readers."""
    end = min(view.size, at + _MAX_TAIL)
    while at < end:
        piece = view.read(at, min(1 << 20, end - at))
        if piece.strip(b"\0"):
            out.doubt("tar.trailing", "Something follows the end of the tar; readers disagree on what it is.")
            return
        at += max(1, len(piece))
    if end < view.size:
        out.doubt("tar.trailing", "The tar is followed by more than is looked through.")
