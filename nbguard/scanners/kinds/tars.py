"""Tars: the oldest files of `torch.save`, Python packages, and archives of anything.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
import struct

from nbguard.formats import tar_reader, torch_legacy
from nbguard.formats.tar_reader import TarDirectory, TarEntry
from nbguard.formats.view import Part, View
from nbguard.scanners import packages
from nbguard.scanners.archive_paths import Placed, judge_paths
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.members import examine_member
from nbguard.scanners.streams import run_at

_TORCH = {"storages", "tensors", "pickle"}
_ZIP_TAIL = 65_535 + 22
"""Bytes at the end of a file in which the end of a zip is looked for."""


class TarScanner:
    name = "tar"

    def recognise(self, job: Job) -> bool:
        return torch_legacy.is_tar(job.head)

    def scan(self, job: Job) -> Facts:
        try:
            directory = tar_reader.read_tar(job.view)
        except tar_reader.TarError as error:
            return unverifiable(job, "tar", "tar.malformed", str(error))
        by_torch = {e.name for e in directory.entries} >= _TORCH
        package = None if by_torch else packages.of_source([e.name for e in directory.entries])
        facts = plain(job, "torch-tar" if by_torch else "sdist" if package else "tar")
        for rule, sentence in directory.problems:
            facts.unverifiable(rule, job.path, job.location, sentence)
        placed = [Placed(e.name, "file" if e.kind in ("sparse", "unknown") else e.kind, e.target, e.mode)
                  for e in directory.entries]  # fmt: skip
        placed += [Placed(e.also, "folder") for e in directory.entries if e.also]
        judge_paths(job, placed, facts, unpacked=not by_torch)
        packages.conda_scripts(job, (e.name for e in directory.entries), facts)
        facts.marks.append(_listing(directory))
        members = _members(job, directory, by_torch, facts)
        if by_torch and {n for n, _ in members} >= _TORCH:
            views = dict(members)
            _storages(job, views["storages"], facts)
            _tensors(job, views["tensors"], facts)
            _program(job, "pickle", views["pickle"], 0, facts)
        if package:
            packages.judge(job, package, members, facts)
        for name, view in members:
            if not package and not (by_torch and name in _TORCH):
                facts.merge(examine_member(job, view, name, "tar-member"))
        facts.regions = {"data": job.size}
        return facts


SCANNER = TarScanner()


def ends_with_a_member(job: Job) -> bool:
    """Whether the end of a zip that a reader finds from the end of a tar lies in one of its members.

    That reader then sees the zip that the member is, which is judged as such; what fills a tar up to whole blocks
    behind it is no sign of anything.
    """
    if not torch_legacy.is_tar(job.head):
        return False
    start = max(0, job.size - _ZIP_TAIL)
    found = job.view.read(start, job.size - start).rfind(b"PK\x05\x06")
    if found < 0:
        return False
    try:
        entries = tar_reader.read_tar(job.view).entries
    except tar_reader.TarError:
        return False
    inside = any(e.kind == "file" and e.data <= start + found <= e.data + e.size - 22 for e in entries)
    return inside and not {e.name for e in entries} >= _TORCH


def _listing(directory: TarDirectory) -> str:
    """A digest over where everything lies, which pins a large tar."""
    digest = hashlib.sha256()
    for entry in directory.entries:
        digest.update(repr((entry.name, entry.kind, entry.target, entry.data, entry.size)).encode())
    return digest.hexdigest()


def _members(job: Job, directory: TarDirectory, by_torch: bool, facts: Facts) -> list[tuple[str, View]]:
    """(name, bytes) of every file, in order; links and devices are judged by their paths."""
    out: list[tuple[str, View]] = []
    seen: dict[str, TarEntry] = {}
    for entry in directory.entries:
        name = entry.name
        if not job.budget.member():
            facts.unverifiable(
                "limits.members", job.path, name[:200], "The archive holds more entries than are looked at."
            )
            break
        if name in seen and not (entry.kind == seen[name].kind == "folder"):
            facts.unverifiable(
                "tar.duplicate-member", job.path, name[:200], "The entry is there twice; readers take different ones."
            )
        seen[name] = entry
        if entry.kind in ("file", "unknown"):
            out.append((name, Part(job.view, entry.data, entry.size)))
        elif name in _TORCH and entry.kind != "folder":
            facts.unverifiable("tar.link", job.path, name[:200], "The entry is a link or a device, not a file.")
    return out


def _program(job: Job, name: str, view: View, at: int, facts: Facts) -> int:
    """Judge the program at `at`; the offset behind it, or -1."""
    inner = job.inside(view, member=name)
    judged, length = run_at(inner, Part(view, at, view.size - at), container="torch-tar", base=at, many=False)
    judged.regions.clear()
    judged.containers.clear()
    facts.merge(judged)
    if not judged.programs or length <= 0:
        facts.unverifiable("torch.tar", job.path, f"{name} @ {at:#x}", "A pickle is missing where PyTorch expects one.")
        return -1
    return at + length


def _count(job: Job, name: str, view: View, facts: Facts) -> tuple[int, int]:
    """(number of entries, offset behind it) from the program that starts the member."""
    at = _program(job, name, view, 0, facts)
    number = torch_legacy.only_integer(view.read(0, at)) if 0 < at < 100 else None
    if number is None or not 0 <= number <= job.limits.members:
        facts.unverifiable("torch.tar", job.path, name, "It does not begin with a number of entries.")
        return 0, -1
    return number, at


def _storages(job: Job, view: View, facts: Facts) -> None:
    number, at = _count(job, "storages", view, facts)
    for _ in range(number):
        start, at = at, _program(job, "storages", view, at, facts)
        if at < 0:
            return
        size = _element_size(view.read(start, at - start))
        head = view.read(at, 8)
        if size is None or len(head) != 8:
            facts.unverifiable(
                "torch.tar", job.path, f"storages @ {at:#x}", "The type or the length of a storage is missing."
            )
            return
        length = struct.unpack("<q", head)[0] * size
        if not 0 <= length <= view.size - at - 8:
            facts.unverifiable("torch.tar", job.path, f"storages @ {at:#x}", "A storage reaches beyond its entry.")
            return
        facts.blocks.append(("storages", at + 8, length, f"raw{size}"))
        facts.counts["tensor_bytes"] = facts.counts.get("tensor_bytes", 0) + length
        at += 8 + length
    if at >= 0:
        _program(job, "storages", view, at, facts)


def _element_size(program: bytes) -> int | None:
    """Bytes of an element of the one storage class that the program names."""
    names = {n for n in torch_legacy.ELEMENT_SIZES if f"torch\n{n}\n".encode() in program}
    return torch_legacy.ELEMENT_SIZES[names.pop()] if len(names) == 1 else None


def _tensors(job: Job, view: View, facts: Facts) -> None:
    number, at = _count(job, "tensors", view, facts)
    facts.counts["tensors"] = number
    for _ in range(number):
        at = _program(job, "tensors", view, at, facts)
        if at < 0:
            return
        head = view.read(at, 4)
        dimensions = struct.unpack("<i", head)[0] if len(head) == 4 else -1
        if not 0 <= dimensions <= 64:
            facts.unverifiable("torch.tar", job.path, f"tensors @ {at:#x}", "A tensor's shape cannot be read.")
            return
        at += 8 + 16 * dimensions + 8


FORMATS = (
    Format(
        "tar",
        "tar",
        (".tar", ".nemo", ".tar.gz", ".tgz"),
        "the check sum of its first header",
        "every header, as `tarfile` and as others read it; every member as what it is; where names and links lead",
        "owners, times and other attributes",
        "what its members are; *danger* for names and links that lead out of the folder, and for devices;"
        " *unverifiable* for two names or sizes of one entry, holes, and whatever follows the end",
    ),
    Format(
        "torch-tar",
        "PyTorch before 0.1.10, a tar",
        (".pt", ".pth", ".tar"),
        "a tar with the members `storages`, `tensors` and `pickle`",
        "every pickle in it, and the places of its storages",
        "the numbers in the storages",
        "any verdict, by its pickles",
        untested="nothing that runs today writes it; the tests put one together as PyTorch did",
    ),
)
