"""What `torch.load` reads besides zips: five pickles followed by storages.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats import torch_legacy
from nbguard.formats.view import Part
from nbguard.scanners.base import Job, plain
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
