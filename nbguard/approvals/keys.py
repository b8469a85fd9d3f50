"""By what an approval is found again: what a load would open, and what it may do, without what is only wording.

    key = contract_key(report)
    covered(approved_files, approved_contract, report)

Two things are left out of the comparison. How the rules word and grade a global (`level`, `reason`): newer rules that
judge no worse must not ask again, and worse ones are recognised by verdict and severity. And the name of a single
file: `pickle.load(open("model.pkl", "rb"))` loads the same content that `nbguard approve model.pkl` was given for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbguard.artifact.model import Artifact, canonical_digest
from nbguard.report.model import Report

Files = list[list[Any]]
"""[path, size, pin] of every file that a loader would open, sorted."""

Permissions = dict[str, Any]
"""A contract as it is compared."""


def files_of(artifact: Artifact) -> Files:
    """What the load would open; a single file goes by the name ''."""
    name = single_file(artifact)
    return sorted(["" if f.path == name else f.path, f.size, f.pin] for f in artifact.files if not f.inert)


def single_file(artifact: Artifact) -> str | None:
    """The path of the one file that the load would open, where a single file was named and none lies beside it."""
    loaded = [f.path for f in artifact.files if not f.inert]
    return loaded[0] if artifact.kind in ("path", "stream") and len(loaded) == 1 else None


def permissions_of(report: Report) -> Permissions:
    """What the load may do, in the order and form in which it is compared."""
    body = report.contract.body()
    body["globals"] = [
        {"module": g["module"], "qualname": g["qualname"], "raw": sorted(g["raw"]), "verbs": sorted(g["verbs"])}
        for g in body["globals"]
    ]
    name = single_file(report.artifact)
    if name is not None:
        body["programs"] = [{**p, "file": "" if p["file"] == name else p["file"]} for p in body["programs"]]
        for key in ("code", "native"):
            body[key] = [{**c, "path": "" if c["path"] == name else c["path"]} for c in body[key]]
        for key in ("containers", "layout"):
            body[key] = {"" if path == name else path: value for path, value in body[key].items()}
    return body


def contract_key(report: Report) -> str:
    return permissions_key(permissions_of(report))


def permissions_key(permissions: Mapping[str, Any]) -> str:
    return canonical_digest(["nbguard.approval/1", permissions])


def covered(files: Files, permissions: Mapping[str, Any], report: Report) -> bool:
    """Whether everything that this load would open and do is part of what was approved.

    For directories and repositories: `nbguard approve folder` looks at all of it, a load opens some of its files.
    """
    wanted, may = files_of(report.artifact), permissions_of(report)
    if report.artifact.kind in ("path", "stream") or not wanted or any(f not in files for f in wanted):
        return False
    for key in ("programs", "calls", "code", "native", "companions", "effects"):
        if any(item not in permissions[key] for item in may[key]):
            return False
    for key in ("containers", "layout", "local_modules"):
        if any(permissions[key].get(name) != value for name, value in may[key].items()):
            return False
    approved = {(g["module"], g["qualname"]): g for g in permissions["globals"]}
    for use in may["globals"]:
        known = approved.get((use["module"], use["qualname"]))
        if known is None or not set(use["verbs"]) <= set(known["verbs"]):
            return False
        if not {tuple(r) for r in use["raw"]} <= {tuple(r) for r in known["raw"]}:
            return False
    return True
