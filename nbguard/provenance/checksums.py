r"""Files of SHA-256 digests: read as `sha256sum` writes them, written so that `sha256sum -c` reads them.

    expected = read_manifest("checksums.sha256")      # {"model.safetensors": "9f86d0…"}
    write_manifest("model/checksums.sha256", {"model.safetensors": "9f86d0…"})

Lines are `HEX  NAME` or `HEX *NAME` (a leading backslash where the name holds a backslash or a line break, which are
then `\\`, `\n` and `\r`), or `SHA256 (NAME) = HEX` as BSD writes them; or the whole is JSON, `{"NAME": "HEX"}`. Names
are relative to the folder and cannot leave it. Who made such a file is not said by it; that takes a signature.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping

from nbguard.artifact.names import shown
from nbguard.artifact.sources import open_files
from nbguard.errors import NbguardError, TargetError

MANIFEST = "checksums.sha256"
"""What such a file is called in the folder whose files it names."""
MAX_BYTES = 16 << 20
"""Of a manifest, or of a signature; a line for each of 20,000 files takes less than 4 MB as a rule."""
MAX_ENTRIES = 20_000
MAX_NAME = 4_096
"""Characters of a file's path, as Linux has it."""
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_GNU = re.compile(r"(?P<escaped>\\?)(?P<hex>[0-9a-fA-F]+) [ *](?P<name>.+)", re.DOTALL)
_BSD = re.compile(r"(?P<escaped>\\?)(?P<kind>[A-Z0-9/-]{2,16}) \((?P<name>.+)\) = (?P<hex>[0-9a-fA-F]+)", re.DOTALL)
_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}


class VerificationError(NbguardError):
    """Nothing could be compared: what it should be compared with is missing or cannot be read. One plain sentence."""


def read_manifest(path: str | os.PathLike[str]) -> dict[str, str]:
    """Path relative to the folder → lower-case hex of its SHA-256, as a file says.

    Raises:
        VerificationError: it cannot be read, holds no digest, or is no such file.
    """
    return parse_manifest(read_bounded(path), label=shown(os.fspath(path)))


def read_bounded(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file of at most `MAX_BYTES`; a link to one is followed. Raises VerificationError."""
    label = shown(os.fsdecode(path))
    try:
        name = os.path.realpath(os.fsdecode(path))
        with open_files(os.path.dirname(name), (os.path.basename(name),), target=label, kind="path") as opened:
            data = opened.files[0].read(0, MAX_BYTES + 1)
    except TargetError as error:
        raise VerificationError(str(error)) from None
    except ValueError:
        raise VerificationError("A path with a NUL byte in it names no file.") from None
    if len(data) > MAX_BYTES:
        raise VerificationError(f"{label} holds more than {MAX_BYTES >> 20} MB, which no honest one does.")
    return data


def parse_manifest(data: bytes, *, label: str = "The file of checksums") -> dict[str, str]:
    """As `read_manifest`, of bytes that were read."""
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    pairs = _json_pairs(text, label) if text.lstrip()[:1] in ("{", "[") else _lines(text, label)
    found: dict[str, str] = {}
    for place, name, digest in pairs:
        if not _HEX.fullmatch(digest):
            raise VerificationError(f"{label}, {place}: {digest[:80]!a} is not a SHA-256 digest in hex.")
        name = checked_name(name, f"{label}, {place}")
        if name in found:
            raise VerificationError(f"{label}, {place}: {name[:200]!a} stands there twice.")
        found[name] = digest.lower()
        if len(found) > MAX_ENTRIES:
            raise VerificationError(f"{label} names more than {MAX_ENTRIES:,} files.")
    if not found:
        raise VerificationError(f"{label} holds no checksum.")
    return found


def checked_name(name: str, place: str) -> str:
    """`name` without a leading `./`, where it can only name a file inside the folder. Raises VerificationError."""
    bare = name
    while bare.startswith("./"):
        bare = bare[2:].lstrip("/")
    parts = bare.split("/")
    leaves = not bare or "\0" in bare or any(p in ("", ".", "..") for p in parts)
    if leaves or len(bare) > MAX_NAME or not _encodable(bare):
        raise VerificationError(f"{place}: {name[:200]!a} does not name a file inside the folder.")
    return bare


def _encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate out of JSON, which no file's name holds
        return False
    return True


def _lines(text: str, label: str) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        place = f"line {number:,}"
        match = _GNU.fullmatch(line) or _BSD.fullmatch(line)
        if match is None:
            raise VerificationError(f"{label}, {place}: not a line of checksums ({line[:80]!a}).")
        kind = match.groupdict().get("kind") or "SHA256"
        if kind not in ("SHA256", "SHA2-256", "SHA-256"):
            raise VerificationError(f"{label}, {place}: {kind} digests are not compared, only SHA-256.")
        name = match["name"]
        if match["escaped"]:
            name = _unescaped(name, f"{label}, {place}")
        yield place, name, match["hex"]


def _unescaped(name: str, place: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise VerificationError(f"{place}: the name ends in a backslash or holds an escape that is none.")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.?)", one, name, flags=re.DOTALL)


def _json_pairs(text: str, label: str) -> Iterator[tuple[str, str, str]]:
    def pairs(found: list[tuple[str, object]]) -> list[tuple[str, object]]:
        return found  # a list, so that a name that stands there twice is seen

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise VerificationError(f"{label} is neither JSON nor lines of checksums.") from None
    if not text.lstrip().startswith("{") or not all(isinstance(digest, str) for _, digest in value):
        raise VerificationError(f"{label} is JSON, but not of the form {{path: hex}}.")
    for number, (name, digest) in enumerate(value, 1):
        yield f"entry {number:,}", name, digest


def render_manifest(digests: Mapping[str, str]) -> bytes:
    """The bytes of a file that `sha256sum -c` reads in the folder, a line for each name in the order of their bytes."""
    lines: list[bytes] = []
    for name in sorted(digests, key=os.fsencode):
        if not _HEX.fullmatch(digests[name]):
            raise ValueError(f"not a SHA-256 digest: {digests[name]!r}")
        lines.append(os.fsencode(manifest_line(name, digests[name].lower())))
    return b"".join(lines)


def manifest_line(name: str, sha256: str) -> str:
    """One line; a name with a line feed, a carriage return or a backslash is written as GNU's sha256sum writes it."""
    written = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if written == name else chr(92)}{sha256}  {written}\n"


def write_manifest(path: str | os.PathLike[str], digests: Mapping[str, str], *, overwrite: bool = False) -> None:
    """Write them to `path`, whole or not at all.

    Args:
        digests: path relative to the folder, with `/` → hex of its SHA-256.

    Raises:
        VerificationError: it cannot be written, or is there already and `overwrite` is not set.
    """
    write_whole(path, render_manifest(digests), overwrite=overwrite)


def write_whole(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = False) -> None:
    """Write a file, whole or not at all; raises VerificationError."""
    name = os.fsdecode(path)
    draft = f"{name}.{secrets.token_hex(4)}.part"
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(draft, name)
        else:
            _link(draft, name)
    except FileExistsError:
        raise VerificationError(f"{shown(name)} is there already; --overwrite replaces it.") from None
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError):
            raise VerificationError("A path with a NUL byte in it names no file.") from None
        reason = (error.strerror or "unknown error").lower()
        raise VerificationError(f"{shown(name)} cannot be written: {reason}.") from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(draft)


def _link(draft: str, name: str) -> None:
    """Give the draft its name where nothing has it yet; raises FileExistsError."""
    try:
        os.link(draft, name)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(name):
            raise FileExistsError(name) from None
        os.rename(draft, name)
