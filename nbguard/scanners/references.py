"""Which code of a folder loading a model would run: what its configurations name, and what that imports.

    resolve(opened, facts)

Python files that nothing names and no library looks for by itself are marked `py:unreferenced`: they lie beside the
model, and are inert unless they act.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from nbguard.artifact.imports import import_closure
from nbguard.artifact.model import NotScanned
from nbguard.artifact.sources import Opened
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import config_classes
from nbguard.scanners.facts import Facts
from nbguard.scanners.source.across import imported
from nbguard.scanners.source.modules import IMPORT

HUBCONF = "hubconf.py"
"""What `torch.hub` imports of a repository."""
REACHED_FOR = "reached for while it loads"
"""The `scope` of files that a load opens one by one."""
MAX_SOURCE = 8 << 20
"""Bytes of one source file that are read for its imports."""
_LOOKED_FOR = (
    "modeling_",
    "configuration_",
    "tokenization_",
    "processing_",
    "image_processing_",
    "feature_extraction_",
    "video_processing_",
    "audio_",
    "generation_",
    "pipeline",
    "handler",
    "generate",
    "model",
    "custom_",
    "custom.py",
)
"""How files are called that libraries or their users import by name (`custom_generate/generate.py`, `handler.py`)."""


_BESIDE: dict[str, Any] = {
    "severity": Severity.LOW,
    "message": "This Python code lies beside the model, and nothing in it names it.",
    "meaning": "Loading the model does not run it. Whoever runs or imports it gives it all their rights.",
    "remedy": "Read it before you run it.",
}
"""What `code.remote` says of a file that no load reaches."""
_UNNAMED: dict[str, Any] = {
    "meaning": "Nothing in the repository names this file: loading the model does not import it.",
    "remedy": "Find out what the file is for before you use anything of this repository.",
}
"""What acts of such a file mean."""
_CODE = frozenset({"python", "text", "empty", "pyc", "requirements", "script"})
"""A folder of nothing else is a package: whoever opens it imports it."""


def resolve(opened: Opened, facts: dict[str, Facts]) -> None:
    """Follow the references; what is named and not there makes the file that names it unverifiable."""
    if opened.kind in ("path", "stream"):
        return
    refused = opened.provenance.get("remote_code") == "refused"
    pending = [path for path, found in facts.items() if is_json(found) and found.references]
    pending += [path for path, found in facts.items() if found.format == "python" and _looked_for(path, opened)]
    seen: set[str] = set(pending) | _hub_code(opened, facts) | _model_code(facts) | _served(facts)
    while pending:
        path = pending.pop()
        for reference in facts[path].references:
            kind, _, where = reference.partition(":")
            if facts[path].format == "python" and f"{kind}:" in ("py:", IMPORT):
                beside = [other for other in imported(path, [reference], facts) if other not in seen]
                seen.update(beside)
                pending += beside
            if kind not in ("py", "repo", "class", "maybe"):
                continue
            kind, where = _own(kind, where, opened)
            if kind == "class":
                named = _class(path, where, facts, opened)
            else:
                named = _find("py" if kind == "maybe" else kind, where, facts)
            if named is None:
                if facts[path].format == "python":
                    _not_there(facts[path], path, where, facts)
                elif is_json(facts[path]) and not refused and kind != "maybe":
                    _missing(facts[path], path, kind, where)
            elif named not in seen:
                seen.add(named)
                pending.append(named)
    alone = not seen and all(found.format in _CODE for found in facts.values())
    for path, found in facts.items():
        if found.format == "python" and path not in seen and not (alone and found.verdict is Verdict.DANGER):
            _unreferenced(path, found, opened)


def is_json(found: Facts) -> bool:
    """Whether libraries read the file as a document, whatever else it is."""
    return "json" in found.format.split("+")


def _hub_code(opened: Opened, facts: dict[str, Facts]) -> set[str]:
    """What `torch.hub` imports: `hubconf.py`, and what that imports from beside it."""
    if HUBCONF not in facts:
        return set()
    files = {file.path: file for file in opened.files if facts[file.path].format == "python"}
    return import_closure(files, lambda name: files[name].read(0, MAX_SOURCE), [HUBCONF])


def _model_code(facts: dict[str, Facts]) -> set[str]:
    """What an MLmodel puts on `sys.path`, and what it runs as the model itself."""
    named = [r for found in facts.values() if "mlmodel" in found.format for r in found.references]
    folders = tuple(r.removeprefix("below:").rstrip("/") + "/" for r in named if r.startswith("below:"))
    files = {r.removeprefix("py:") for r in named if r.startswith("py:")}
    return {p for p, f in facts.items() if f.format == "python" and (p in files or (folders and p.startswith(folders)))}


def _served(facts: dict[str, Facts]) -> set[str]:
    """What a configuration of Triton has its server run in the place of `model.py`, in any version's folder."""
    named = {r.removeprefix("served:") for f in facts.values() for r in f.references if r.startswith("served:")}
    return {p for p, f in facts.items() if named and f.format == "python" and PurePosixPath(p).name in named}


def _own(kind: str, where: str, opened: Opened) -> tuple[str, str]:
    """A reference to code of this very repository by its full name is one to a file beside the configuration."""
    for repository in (opened.target.removeprefix("hf://").partition("@")[0], opened.provenance.get("repo", "")):
        if kind == "repo" and repository and where.startswith(f"{repository}/"):
            return "py", where.removeprefix(f"{repository}/")
    return kind, where


def _find(kind: str, where: str, facts: dict[str, Facts]) -> str | None:
    """The file that a reference means. Code of another repository lies below that repository's name."""
    if kind == "py":
        packaged = where.removesuffix(".py") + "/__init__.py"
        return where if where in facts else packaged if packaged in facts else None
    flat = where.replace("/", "--", 1)
    return next((p for p in (where, flat, f"models--{flat}") if p in facts), None)


def _class(path: str, name: str, facts: dict[str, Facts], opened: Opened) -> str | None:
    """The file of the repository that the type of a module means."""
    repository, mark, rest = name.rpartition("--")
    file = rest.rpartition(".")[0].replace(".", "/") + ".py"
    kind, where = _own("repo", f"{repository}/{file}", opened) if mark else ("py", file)
    folder = path.rpartition("/")[0]
    below = f"{folder}/{where}" if folder and kind == "py" else where
    return _find(kind, below, facts) or _find(kind, where, facts)


def _missing(found: Facts, path: str, kind: str, where: str) -> None:
    if kind == "class" and "--" not in where:
        said = config_classes.another_package(path, where)
        if said is not None:
            found.add(*said)
        return
    if kind in ("repo", "class"):
        found.add(
            Finding(
                "code.cross-repository",
                Severity.HIGH,
                path,
                "auto_map",
                f"It takes code from another repository: {where[:200]}.",
                meaning="That code was not looked at, and its owner can change it at any time.",
                remedy="Load with trust_remote_code=False, or scan the other repository and pin its commit.",
            ),
            Verdict.UNVERIFIABLE,
        )
        found.not_scanned.append(NotScanned(where[:300], "code in another repository, named by auto_map"))
    else:
        found.add(
            Finding(
                "code.missing",
                Severity.MEDIUM,
                path,
                "auto_map",
                f"It names code that is not there: {where[:200]}.",
                meaning="A load that trusts remote code would fail, or find the file somewhere else.",
                remedy="Load with trust_remote_code=False.",
            ),
            Verdict.REVIEW,
        )


def _not_there(found: Facts, path: str, where: str, facts: dict[str, Facts]) -> None:
    """Code imports a file that is missing. `from . import x` may also mean a name of the package."""
    if f"{where.rpartition('/')[0]}/__init__.py".lstrip("/") in facts:
        return
    found.add(
        Finding(
            "code.missing",
            Severity.LOW,
            path,
            "import",
            f"It imports a file that is not there: {where[:200]}.",
            meaning="A load that runs this code would fail, or find the file somewhere else; nobody has looked at it.",
            remedy="Get the whole repository and scan that.",
        ),
        Verdict.REVIEW,
    )


def _looked_for(path: str, opened: Opened) -> bool:
    """A hub load opens only what its loader asked for, so that whatever is open there counts."""
    scope = opened.provenance.get("scope")
    asked_for = scope == REACHED_FOR or (opened.kind == "hub" and scope != "whole repository")
    return asked_for or PurePosixPath(path).name.startswith(_LOOKED_FOR)


def _unreferenced(path: str, found: Facts, opened: Opened) -> None:
    if _looked_for(path, opened):
        return
    if found.verdict is Verdict.DANGER:
        found.verdict = Verdict.REVIEW
        found.findings = [replace(f, **_UNNAMED) if f.rule.startswith("code.acts") else f for f in found.findings]
    elif found.verdict <= Verdict.REVIEW:
        found.references.append("py:unreferenced")
        found.findings = [replace(f, **_BESIDE) if f.rule == "code.remote" else f for f in found.findings]
