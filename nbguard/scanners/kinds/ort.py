"""Models in ONNX Runtime's own format (`.ort`), judged as the ONNX graphs that they are.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats.onnx_model import OnnxError
from nbguard.formats.ort_model import MAGIC, read_model
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.kinds.onnx import judge, malformed


class OrtScanner:
    name = "ort"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(MAGIC, 4)

    def scan(self, job: Job) -> Facts:
        try:
            model = read_model(job.view.read(0, job.size))
        except OnnxError as error:
            return malformed(job, "ort", error)
        return judge(job, "ort", model)


SCANNER = OrtScanner()
FORMATS = (
    Format(
        "ort",
        "ONNX Runtime's own format",
        (".ort",),
        "the mark `ORTM` at its fifth byte",
        "every table of the buffer, and in it what is looked at in an ONNX model",
        "the numbers; types of values, edges and optimisations, which the runtime verifies itself",
        "as for ONNX; *unverifiable* where an offset leads out of the file",
    ),
)
