"""What `torch.load` reads besides zips: five pickles followed by storages.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats import torch_legacy
from nbguard.formats.view import Part
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.streams import run_at


class TorchLegacyScanner:
    name = "torch-legacy"

    def recognise(self, job: Job) -> bool:
        return torch_legacy.is_legacy(job.head)

    def scan(self, job: Job) -> Facts:
        facts = plain(job, self.name)
        at = 0
        for number in range(torch_legacy.PROGRAMS):
            part = Part(job.view, at, job.size - at)
            judged, length = run_at(job, part, container=self.name, base=at, many=False)
            judged.regions.clear()
            judged.containers.clear()
            facts.merge(judged)
            if not judged.programs or length <= 0:
                facts.unverifiable(
                    "torch.legacy",
                    job.path,
                    f"@ {at:#x}",
                    f"Pickle {number + 1} of the {torch_legacy.PROGRAMS} is missing.",
                )
                break
            at += length
        facts.blocks.append((job.member, at, job.size - at, "raw"))
        facts.regions = {"code": at, "data": job.size - at}
        facts.counts.update(tensor_bytes=job.size - at)
        return facts


SCANNER = TorchLegacyScanner()
FORMATS = (
    Format(
        "torch-legacy",
        "PyTorch before 1.6 (`torch.save` without a zip)",
        (".pt", ".pth", ".bin", ".ckpt"),
        "PyTorch's magic number as a pickle of its own at the start, as `torch.load` compares it",
        "the five pickles in a row, each as a pickle, with persistent ids that may stand for plain storages only; the "
        "place and size of what follows",
        "the bytes of the storages: numbers. A file whose magic number is computed is no such file here, and is judged "
        "as the pickles that it is",
        "as a pickle; *unverifiable* where one of the five is missing",
    ),
)
