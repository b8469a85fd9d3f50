"""What no first bytes tell: text, JSON, sentencepiece vocabularies, and what nobody knows.

facts = judge(job)
"""

from __future__ import annotations

import re

from nbguard.artifact.model import NotScanned
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Job, plain, unverifiable
from nbguard.scanners.facts import Facts

MAX_TEXT = 256 << 20
"""Bytes; larger texts are unknown."""
MAX_JSON = 64 << 20
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_SCRIPT = re.compile(
    rb"^\s*(?:#!.*\b(?:python|sh|bash|perl|node)\b|(?:import|from)\s+(?:os|sys|subprocess|socket|ctypes|pty)\b)", re.M
)
MAX_SCRIPT = 1 << 20
"""Bytes of a text that is read as Python, where it looks like that."""
_CALLS = re.compile(rb"\b(?:import|exec|eval|compile|__import__|getattr)\b")
_MODELS = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".safetensors")
_TEMPLATE = re.compile(r"(?:^|/)(?:chat_template|additional_chat_templates/[^/]+)\.jinja\Z")
"""Where transformers looks for templates (`utils/hub.py`, `CHAT_TEMPLATE_FILE`, `CHAT_TEMPLATE_DIR`)."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_DOCUMENTS = (".md", ".rst", ".html", ".htm", ".ipynb")


def judge(job: Job) -> Facts:
    """Text and JSON are data; an unknown binary is unverifiable."""
    if not job.size:
        return unverifiable(job, "empty", "format.empty", "The file is empty.")
    if _sentencepiece(job):
        return plain(job, "sentencepiece")
    if "tfevents" in job.name.rsplit("/", 1)[-1] and _tfrecord(job):
        return plain(job, "tensorboard")
    if _is_text(job):
        return _text(job)
    facts = unverifiable(
        job,
        "unknown",
        "format.unknown",
        "Nobody here knows this format.",
        meaning="What loading it would do cannot be said.",
        remedy="Ask for the model as safetensors.",
    )
    facts.not_scanned.append(
        NotScanned(f"{job.path}!{job.member}" if job.member else job.path, "a format that is not known")
    )
    return facts


def _is_text(job: Job) -> bool:
    if job.size > MAX_TEXT:
        return False
    rest = b""
    for at in range(0, job.size, 1 << 20):
        piece = rest + job.view.read(at, 1 << 20)
        if _CONTROL.search(piece):
            return False
        try:
            piece.decode("utf-8")
            rest = b""
        except UnicodeDecodeError as error:
            # A character may be cut in two by the end of the piece; anything else is no UTF-8.
            if error.reason != "unexpected end of data" or at + (1 << 20) >= job.size:
                return _latin(job)
            rest = piece[error.start :]
    return True


def _latin(job: Job) -> bool:
    """Old licences and word lists are latin-1; four printable characters in five make a text of them."""
    printable = sum(32 <= b < 127 or b in b"\t\r\n" for b in job.head)
    return job.suffix in (".txt", ".md", ".csv", "") and printable * 5 > len(job.head) * 4


def _text(job: Job) -> Facts:
    from nbguard.scanners import configs

    if job.head.startswith(_LFS_POINTER):
        return unverifiable(
            job,
            "git-lfs",
            "format.pointer",
            "This is not the file but a git-lfs pointer to it.",
            meaning="The model itself was not fetched, so nothing of it was looked at.",
            remedy="Fetch it with git lfs pull and scan again.",
        )
    if job.suffix in _MODELS and not job.member:
        return unverifiable(
            job,
            "text",
            "format.mismatch",
            f"Its name ends in {job.suffix}, and its content is text.",
            meaning="No loader of such files can read it; what another program would make of it cannot be said.",
            remedy="Check that the download is complete: error pages are often saved under the model's name.",
        )
    stripped = job.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if stripped[:1] in (b"{", b"["):
        if job.size <= MAX_JSON:
            found = configs.judge(job)
            if found is not None:
                return found
        elif job.suffix == ".json" and job.name.rsplit("/", 1)[-1] in configs.NAMES:
            return unverifiable(job, "json", "json.size", "The configuration is larger than any real one.")
    facts = plain(job, "text")
    if _TEMPLATE.search(job.name):
        from nbguard.scanners import templates

        source = job.view.read(0, job.size).decode("utf-8", "surrogateescape")
        templates.judge(job, source, "", facts, pin=False)
    match = None if job.suffix in _DOCUMENTS else _SCRIPT.search(job.head)
    if match is not None:
        facts.add(
            Finding(
                "text.script",
                Severity.LOW,
                job.path,
                job.location,
                "There is a program in this text file.",
                evidence=match[0][:200].decode("utf-8", "backslashreplace").strip(),
                meaning="Loading a model does not run it; under such a name it may be meant to be overlooked.",
            ),
            Verdict.SAFE,
        )
    if job.size <= MAX_SCRIPT and job.suffix not in _DOCUMENTS and _CALLS.search(job.head):
        from nbguard.scanners.kinds import code

        facts.merge(code.under_another_name(job))
    return facts


def _sentencepiece(job: Job) -> bool:
    """A serialized `ModelProto`: pieces (text, score, type) first, only the five fields it has on top."""
    if not job.head.startswith(b"\x0a") or job.size > MAX_TEXT:
        return False
    data = job.view.read(0, job.size)
    at, pieces = 0, 0
    while at < len(data):
        tag = data[at]
        if tag not in (0x0A, 0x12, 0x1A, 0x22, 0x2A):
            return False
        at, length = _varint(data, at + 1)
        if length < 0 or at + length > len(data):
            return False
        if tag == 0x0A:
            if data[at : at + 1] != b"\x0a" or length > 4096:
                return False
            pieces += 1
        at += length
    return pieces > 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(offset behind, value), the value -1 where there is none."""
    value = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return at, value
    return at, -1


def _tfrecord(job: Job) -> bool:
    length = int.from_bytes(job.head[:8], "little")
    return len(job.head) >= 16 and 0 < length <= job.size - 16
