"""What no first bytes tell: text, JSON, and what nobody knows.

facts = judge(job)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from nbguard.artifact.model import NotScanned
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts

MAX_TEXT = 256 << 20
"""Bytes; larger texts are unknown."""
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""Delete, 0x7f, is none of them: vocabularies hold it, and writers of JSON write it as it is."""
_CALLS = re.compile(rb"\b(?:import|exec|eval|compile|__import__|getattr)\b")
_MODELS = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".safetensors")
_TEMPLATE = re.compile(r"(?:^|/)(?:chat_template|additional_chat_templates/[^/]+)\.jinja\Z", re.I)
"""Where transformers looks for templates (`utils/hub.py`, `CHAT_TEMPLATE_FILE`, `CHAT_TEMPLATE_DIR`)."""
_RUN = re.compile(r"[A-Za-z0-9+/]{120,200000}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_MOST_RUNS = 200
_INSIDE = (
    (b"\x7fELF", "a program for Linux"),
    (b"MZ\x90\0", "a program for Windows"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04\x95", "a pickle"),
    (b"\x80\x05\x95", "a pickle"),
    (b"PK\x03\x04", "a zip"),
    (b"#!/", "a script"),
    (b"import ", "Python source"),
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_DOCUMENTS = (".md", ".rst", ".html", ".htm", ".ipynb")


def judge(job: Job) -> Facts:
    """Text and JSON are data; an unknown binary is unverifiable."""
    if not job.size:
        return unverifiable(job, "empty", "format.empty", "The file is empty.")
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
    found = _json(job)
    if found is not None:
        return found
    facts = _template(job) if _TEMPLATE.search(job.name) else plain(job, "text")
    if job.suffix not in _DOCUMENTS:
        _hidden(job, facts)
    return facts


def _json(job: Job) -> Facts | None:
    """Facts of a JSON document; None where it is none, or is only text for whoever opens it."""
    from nbguard.scanners import configs

    if job.begins not in (b"{", b"["):
        return None
    if job.size <= configs.MAX_JSON:
        return configs.judge(job)
    if configs.is_configuration(job.name):
        return unverifiable(job, "json", "json.size", "The configuration is larger than any real one.")
    if configs.perhaps_graph(job):
        return unverifiable(job, "json", "json.size", "A document with parts of a model is larger than is read.")
    return None


def _template(job: Job) -> Facts:
    from nbguard.scanners import templates

    facts = plain(job, "jinja-template")
    source = job.view.read(0, job.size).decode("utf-8", "surrogateescape")
    templates.judge(job, source, "", facts, pin=False)
    return facts


def looked_for(name: str) -> bool:
    """Whether libraries open a file of this name by themselves, for a configuration or a chat template."""
    from nbguard.scanners import configs

    return _TEMPLATE.search(name) is not None or configs.is_configuration(name)


def words_too(job: Job) -> Facts:
    """What a library finds in bytes that have the mark of another format too; nothing where that is nothing to tell.

    `{"abftyp": 0, "auto_map": …}` has the mark of a film, and whatever has the name of a configuration is read as one.
    """
    found = None
    if _TEMPLATE.search(job.name) and job.size <= MAX_TEXT:
        found = _template(job)
    elif job.suffix == ".json":
        found = _json(job)
    return found if found is not None and (found.findings or found.references) else Facts(format="")


def _hidden(job: Job, facts: Facts) -> None:
    """Programs under a name that is no program's, and bytes of other formats written as text."""
    from nbguard.scanners import scripts
    from nbguard.scanners.kinds import code, script

    source = job.view.read(0, min(job.size, scripts.MAX_SCRIPT)).decode("utf-8", "replace")
    kind = scripts.program(source, job.name)
    if kind:
        facts.add(
            Finding(
                "text.script",
                Severity.LOW,
                job.path,
                job.location,
                f"There is a program in this text file: {kind}.",
                evidence=source.strip().partition("\n")[0][:200],
                meaning="Loading a model does not run it; under such a name it may be meant to be overlooked.",
            ),
            Verdict.SAFE,
        )
        script.tell(job, source, facts, hidden=True)
    for what, start in _encoded(source):
        facts.add(
            Finding(
                "text.encoded",
                Severity.INFO,
                job.path,
                job.location,
                f"A long piece of the text is {what}, written as base64 or in hexadecimal.",
                evidence=start,
                meaning="By itself that is no harm: something would have to decode it and use it.",
            ),
            Verdict.SAFE,
        )
    if job.size <= scripts.MAX_SCRIPT and _CALLS.search(job.head):
        facts.merge(code.under_another_name(job))


def _encoded(source: str) -> Iterator[tuple[str, str]]:
    """(what it is, how it begins) of the first long runs that decode to a program or a pickle. Weak evidence."""
    for match, _ in zip(_RUN.finditer(source), range(_MOST_RUNS), strict=False):
        run = match[0]
        try:
            data = bytes.fromhex(run) if _HEX.fullmatch(run) else base64.b64decode(run + "=" * (-len(run) % 4))
        except ValueError:
            continue
        for magic, what in _INSIDE:
            if data.startswith(magic):
                yield what, run[:80]
                break


def _tfrecord(job: Job) -> bool:
    length = int.from_bytes(job.head[:8], "little")
    return len(job.head) >= 16 and 0 < length <= job.size - 16


FORMATS = (
    Format(
        "text",
        "Text",
        (".txt", ".md", ".csv", ".yaml"),
        "UTF-8 (or Latin-1 under a text's name) without control characters",
        "whether it is a program under a name that is no program's, and then what that would do; long pieces that "
        "decode to a program or a pickle (weak evidence: no verdict)",
        "what the text says",
        "inert or *safe*; *danger* for a hidden program that does harm; *unverifiable* under a model's name",
        untested="people write it",
    ),
)
