"""GGML's models from before GGUF.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats.ggml_legacy import MARKS, GgmlError, read
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed


class GgmlScanner:
    name = "ggml"

    def recognise(self, job: Job) -> bool:
        return job.head[:4] in MARKS

    def scan(self, job: Job) -> Facts:
        try:
            model = read(job.view)
        except GgmlError as error:
            return malformed(job, "ggml", error)
        facts = plain(job, "ggml")
        facts.blocks = [(name[:300], offset, size, kind) for name, offset, size, kind in model.tensors]
        digest = hashlib.sha256()
        for at in range(0, model.head, 1 << 20):
            digest.update(job.view.read(at, min(1 << 20, model.head - at)))
        facts.marks.append(digest.hexdigest())
        facts.counts.update(tensors=len(model.tensors), tensor_bytes=sum(t[2] for t in model.tensors))
        return facts


SCANNER = GgmlScanner()
FORMATS = (
    Format(
        "ggml",
        "GGML before GGUF",
        (".bin",),
        "the marks `lmgg`, `fmgg`, `tjgg` or `algg` at its start",
        "settings, words, filters and every tensor to the last byte, as whisper.cpp, llama.cpp before GGUF, GPT-2 "
        "and GPT-J of ggml's examples, and LLaMA's adapters lay them out",
        "the numbers themselves; whether tensors have the shapes that the program expects: it looks at that itself",
        "*safe*; *unverifiable* where no layout fits to the last byte, which includes models for other programs",
        untested="The converters are scripts of whisper.cpp and llama.cpp, in no package; the file is built in code.",
    ),
)
