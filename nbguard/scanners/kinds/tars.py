"""Tars: the oldest files of `torch.save`, and archives of anything.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator

from nbguard.formats import torch_legacy
from nbguard.formats.view import Part, View, buffered
from nbguard.scanners.base import Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.streams import run_at

_TORCH = {"storages", "tensors", "pickle"}
_ZIP_TAIL = 65_535 + 22
"""Bytes at the end of a file in which the end of a zip is looked for."""


class TarScanner:
    name = "tar"

    def recognise(self, job: Job) -> bool:
        return torch_legacy.is_tar(job.head)

    def scan(self, job: Job) -> Facts:
        facts = plain(job, "tar")
        members = dict(_members(job, facts))
        if set(members) >= _TORCH:
            facts.format = "torch-tar"
            if not job.member:
                facts.containers[job.path] = "torch-tar"
            _storages(job, members["storages"], facts)
            _tensors(job, members["tensors"], facts)
            _program(job, "pickle", members["pickle"], 0, facts)
        for name, view in members.items():
            if facts.format != "torch-tar" or name not in _TORCH:
                _other(job, name, view, facts)
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
    names, inside = set(), False
    try:
        with tarfile.open(fileobj=buffered(job.view), mode="r:") as archive:
            for count, info in enumerate(archive):
                if count > job.limits.members:
                    return False
                names.add(info.name)
                inside |= info.isreg() and info.offset_data <= start + found <= info.offset_data + info.size - 22
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        return False
    return inside and not names >= _TORCH


def _members(job: Job, facts: Facts) -> Iterator[tuple[str, View]]:
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=buffered(job.view), mode="r:") as archive:
            for info in archive:
                name = info.name
                if not job.budget.member():
                    facts.unverifiable(
                        "limits.members", job.path, name[:200], "The archive holds more entries than are looked at."
                    )
                    return
                if name in seen:
                    facts.unverifiable(
                        "tar.duplicate-member",
                        job.path,
                        name[:200],
                        "The entry is there twice; readers take different ones.",
                    )
                seen.add(name)
                if info.isdir():
                    continue
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
                    facts.unverifiable("tar.link", job.path, name[:200], "The entry is a link or a device, not a file.")
                    continue
                if info.offset_data + info.size > job.size:
                    facts.unverifiable(
                        "tar.truncated", job.path, name[:200], "The entry reaches beyond the end of the file."
                    )
                yield name, Part(job.view, info.offset_data, info.size)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        facts.unverifiable("tar.malformed", job.path, job.location, f"The tar cannot be read: {str(error)[:200]}.")


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


def _other(job: Job, name: str, view: View, facts: Facts) -> None:
    from nbguard.scanners.registry import examine

    judged = examine(job.inside(view, member=name, container="tar-member"))
    judged.regions.clear()
    judged.containers.clear()
    judged.summary.clear()
    facts.merge(judged)
