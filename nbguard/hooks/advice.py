"""What the question says beyond the content: what changed, the safetensors alternative, the line with the revision.

    report = advised(report, opened, request)
    report.advice.ways[0].line      # 'model = AutoModel.from_pretrained(repo, use_safetensors=True)'

None of it decides. What cannot be told is left out, or said in the report's provenance.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from nbguard.artifact import alternatives
from nbguard.artifact.checkpoints import TORCH_WEIGHTS
from nbguard.artifact.model import LoadRequest
from nbguard.hooks import written
from nbguard.hooks.published import record
from nbguard.report.advice import Way
from nbguard.report.model import Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

BY_REVISION = frozenset(
    {"pipeline", "SentenceTransformer", "CrossEncoder", "SparseEncoder", "nbguard.load_transformers"}
)
"""Loaders beside every `from_pretrained` that take `revision`."""
GIVEN_ON = ("trust_remote_code", "subfolder", "variant", "use_safetensors")
"""Arguments of the call that a line put together takes over."""


def advised(
    report: Report, opened: Opened | None, request: LoadRequest | None, *, instead: Collection[str] = ()
) -> Report:
    """`report` with its advice.

    Args:
        request: the call; None for a scan that a person asked for.
        instead: what the loader that asks can be told to load at once in the place of this; see `walk.admit`.
    """
    safer = _safetensors(report, request, "safetensors" in instead) or _convert(report, request, instead)
    ways = tuple(way for way in (safer, _pinned(report, request)) if way is not None)
    report = replace(report, advice=replace(report.advice, ways=ways))
    return with_since(report, opened)


def with_since(report: Report, opened: Opened | None) -> Report:
    """`report` with what changed since something was accepted under its name."""
    from nbguard.approvals import RecordError, versions
    from nbguard.artifact.remote_repo import RemoteFile

    if opened is not None and any(isinstance(file, RemoteFile) and file.ranged for file in opened.files):
        return report  # a file that was read in parts is pinned by its layout, and by its digest once it is downloaded
    try:
        found = versions.since(report, opened)
    except RecordError as error:
        return replace(report, provenance={**report.provenance, "accepted_before": str(error)[:300]})
    return replace(report, advice=replace(report.advice, since=found))


def remember(report: Report, opened: Opened | None, who: str, reason: str, approval: str = "") -> None:
    """Keep what was accepted, so that a later question can say what changed. No load depends on it.

    Args:
        approval: the id of the approval that was given; empty where it was accepted for one load.
    """
    from nbguard.approvals import AuditLog, RecordError, versions

    how: Literal["once", "always"] = "always" if approval else "once"
    try:
        versions.remember(report, opened, who, reason, how, approval, record(report, opened))
    except RecordError as error:
        AuditLog().record("versions.not_kept", target=report.target, why=str(error)[:300])


def _pinned(report: Report, request: LoadRequest | None) -> Way | None:
    """The call with the commit that was looked at; None where it has that commit already, or should not be loaded."""
    commit = report.artifact.commit
    if report.verdict in (Verdict.DANGER, Verdict.UNVERIFIABLE) or any(
        f.rule.startswith("name.") and f.severity >= Severity.HIGH for f in report.findings
    ):
        return None
    if report.artifact.kind != "hub" or not commit or (request is not None and request.revision == commit):
        return None
    name = report.provenance.get("repo") or report.target
    why = "What a branch or tag stands for can change; this names the commit that was looked at."
    if request is None:
        arguments: dict[str, Any] = {"revision": commit}
        others = [value for key, value in report.provenance.items() if key.startswith("code from ")]
        if len(others) > 1:
            return None  # one line names the commit of one of them only
        if others or any(c.kind == "python" for c in report.contract.code):
            arguments |= {"trust_remote_code": True, **({"code_revision": others[0]} if others else {})}
        return Way("pinned", written.line("AutoModel.from_pretrained", name, arguments), why)
    if not (request.loader.endswith(".from_pretrained") or request.loader in BY_REVISION):
        return None
    return Way("pinned", _line(request, name, {"revision": commit, **_code_revision(report, request)}), why)


def _code_revision(report: Report, request: LoadRequest) -> dict[str, str]:
    """The commit of the other repository that the code comes from; the revision of this one does not hold for it."""
    found = [commit for key, commit in report.provenance.items() if key.startswith("code from ")]
    if len(found) != 1 or not request.arguments.get("trust_remote_code"):
        return {}
    return {"code_revision": found[0]}


def _safetensors(report: Report, request: LoadRequest | None, instead: bool) -> Way | None:
    """The same weights in a format that cannot run code, where they lie there."""
    if report.artifact.kind == "stream":
        return None
    if report.artifact.kind == "path":
        return _sibling(report, request)
    names = [f.path for f in report.files] + [n.path for n in report.not_scanned]
    found = alternatives.beside([f.path for f in report.files if not f.inert and f.format != "safetensors"], names)
    if found is None or any(f.format == "safetensors" and f.path == found.name for f in report.files if not f.inert):
        return None
    where = "This repository" if report.artifact.kind == "hub" else "This folder"
    why = f"{where} also has {found.name}, which holds numbers only and cannot run code."
    loader = request.loader if request is not None else "AutoModel.from_pretrained"
    arguments: dict[str, Any] = {"use_safetensors": True}
    if found.variant != (request.arguments.get("variant") if request is not None else None):
        arguments["variant"] = found.variant
    if not loader.endswith(".from_pretrained"):
        if loader != "pipeline":
            return None
        return Way("safetensors", _line(request, report.target, {"model_kwargs": arguments}), why)
    line = _line(request, report.provenance.get("repo") or report.target, arguments, loader)
    return Way("safetensors", line, why, tuple(arguments.items()) if instead else ())


def _convert(report: Report, request: LoadRequest | None, instead: Collection[str]) -> Way | None:
    """Safetensors made of the pickles, where there are none and the loader can go on with them."""
    if request is None or "convert" not in instead:
        return None
    opened = [f for f in report.files if not f.inert]
    weights = [f for f in opened if f.path.lower().endswith(TORCH_WEIGHTS)]
    if not weights or any(f.format in ("safetensors", "gguf") or "//" in f.path for f in opened):
        return None  # nothing to convert, or not all of it: two slashes stand for another source
    if report.contract.code or report.contract.native:
        return None  # the model needs code of the repository, which no conversion takes along
    unclear = next((f for f in weights if f.verdict is not Verdict.SAFE), None)
    if unclear is not None:
        return Way("convert", "", f"{unclear.path} cannot be converted to safetensors, because it is not pure data.")
    name, cls = report.provenance.get("repo") or report.target, request.loader.partition(".")[0]
    arguments = {"convert": True} if cls == "AutoModel" else {"model_class": cls, "convert": True}
    why = (
        "It has its weights only as pickles. They hold numbers only, as far as can be seen, and can be converted to"
        " safetensors in an isolated process."
    )
    line = written.line("nbguard.load_transformers", name, arguments)
    return Way("convert", line, why, (("only", tuple(f.path for f in weights)),))


def _sibling(report: Report, request: LoadRequest | None) -> Way | None:
    """`model.safetensors` beside the `model.bin` that is loaded by its path."""
    place = report.target if os.path.isfile(report.target) else report.provenance.get("path", "")
    if not place or not place.lower().endswith(alternatives.UNPICKLED) or not _of_torch(report):
        return None
    folder, base = os.path.split(place)
    name = next((c for c in alternatives.candidates(base) if _is_safetensors(os.path.join(folder, c))), None)
    if name is None:
        return None
    found = written.written(request.loader.rpartition(".")[2]) if request is not None else None
    assigned = found.assigned if found is not None else ""
    line = f"import safetensors.torch\n{assigned}" + written.line(
        "safetensors.torch.load_file", os.path.join(folder, name), {}
    )
    return Way("safetensors", line, f"Beside it lies {name}, which holds numbers only and cannot run code.")


def _of_torch(report: Report) -> bool:
    return any(p.container.startswith("torch") for p in report.contract.programs) or any(
        f.format.startswith("torch") for f in report.files if not f.inert
    )


def _is_safetensors(place: str) -> bool:
    """Whether a file of that name is there; an index of parts is nothing that `load_file` reads."""
    return place.endswith(".safetensors") and os.path.isfile(place)


def _line(request: LoadRequest | None, name: str, arguments: Mapping[str, Any], loader: str = "") -> str:
    """The call as it was written, with these arguments; else one that is put together."""
    if request is not None:
        found = written.written(request.loader.rpartition(".")[2])
        if found is not None:
            return found.with_arguments(arguments)
        loader = request.loader
    given = {k: v for k, v in (request.arguments if request is not None else {}).items() if k in GIVEN_ON}
    return written.line(loader, name, {**given, **arguments}, keyword="model" if loader == "pipeline" else "")
