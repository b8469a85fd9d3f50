"""TorchServe's archives (`.mar`): a zip with a manifest, whose handler the server imports.

facts = SCANNER.scan(job)

What is in the archive is judged as the zip that it is; here the manifest is read. Source:
`model_archiver/manifest_components` and `frontend/archive/.../Manifest.java` of TorchServe; `ts/model_loader.py`
imports the handler, or a file of the package.
"""

from __future__ import annotations

import json
from typing import Any

from nbguard.formats import zip_reader
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.config_keys import leads_out
from nbguard.scanners.facts import Facts

MANIFEST = "MAR-INF/MANIFEST.json"
MAX_MANIFEST = 1 << 20
_OWN = frozenset({"image_classifier", "object_detector", "text_classifier", "image_segmenter", "base_handler"})
"""Handlers that TorchServe brings along (`ts/torch_handler`)."""


class TorchServeScanner:
    name = "torchserve-mar"

    def recognise(self, job: Job) -> bool:
        if not job.head.startswith((zip_reader.LOCAL, b"PK\x05\x06")):
            return False
        try:
            return any(e.name == MANIFEST for e in zip_reader.read_directory(job.view, every=False).entries)
        except zip_reader.ZipError:
            return False

    def scan(self, job: Job) -> Facts:
        directory = zip_reader.read_directory(job.view)
        names = [e.name for e in directory.entries]
        facts = plain(job, self.name)
        for name in names:
            if leads_out(name):
                _tell(job, facts, "torchserve.outside", name, Verdict.DANGER, "would be unpacked outside of its folder",
                      "The server writes it over a file of the machine (CVE-2023-48299).")  # fmt: skip
                break
        try:
            entry = next(e for e in directory.entries if e.name == MANIFEST)
            manifest = json.loads(zip_reader.read_member(job.view, entry, limit=MAX_MANIFEST))
        except (ValueError, RecursionError) as error:
            return unverifiable(
                job, self.name, "torchserve.manifest", f"Its manifest cannot be read: {str(error)[:100]}."
            )
        model = manifest.get("model") if isinstance(manifest, dict) else None
        if not isinstance(model, dict):
            facts.unverifiable("torchserve.manifest", job.path, MANIFEST, "Its manifest names no model.")
            return facts
        _model(job, facts, model, frozenset(names))
        return facts


SCANNER = TorchServeScanner()


def _model(job: Job, facts: Facts, model: dict[str, Any], names: frozenset[str]) -> None:
    for key in ("handler", "modelFile", "serializedFile", "requirementsFile", "configFile"):
        value = model.get(key)
        if value is None or value == "":
            continue
        text = str(value)
        file, colon, _ = text.partition(":")
        if key == "handler" and text in _OWN:
            continue
        if leads_out(file) or (colon and key != "handler"):
            _tell(job, facts, "torchserve.outside", f"{key}: {text}", Verdict.DANGER, "lies outside of the archive",
                  "The server would import or load what lies there.")  # fmt: skip
        elif key == "handler":
            here = {file, f"{file}.py", f"{file}/__init__.py", f"{file.replace('.', '/')}.py"}
            if here & names:
                _tell(job, facts, "torchserve.handler", text, Verdict.REVIEW, "is code that the archive brings along",
                      "The server imports it, and hands it every request.")  # fmt: skip
            else:
                _tell(job, facts, "torchserve.handler", text, Verdict.REVIEW, "is imported from elsewhere",
                      "A module of that name on the server is imported and handed every request.")  # fmt: skip
        elif key == "modelFile":
            _tell(job, facts, "torchserve.code", text, Verdict.REVIEW, "is imported when the model is loaded",
                  "It runs with all rights of the server.")  # fmt: skip
        elif key == "requirementsFile":
            _tell(job, facts, "torchserve.requirements", text, Verdict.REVIEW, "names packages to be installed",
                  "Installing a package runs code of its own.")  # fmt: skip
        elif file not in names:
            facts.unverifiable(
                "torchserve.missing", job.path, key, f"A file that its manifest names is missing: {text[:150]}."
            )


def _tell(job: Job, facts: Facts, rule: str, what: str, verdict: Verdict, does: str, meaning: str) -> None:
    danger = verdict is Verdict.DANGER
    facts.add(
        Finding(
            rule, Severity.CRITICAL if danger else Severity.MEDIUM, job.path, MANIFEST, f"{what[:150]} {does}.",
            evidence=what[:500], meaning=meaning,
            remedy="Do not serve it." if danger else "Read that file before you serve the model.",
        ),
        verdict,
    )  # fmt: skip


FORMATS = (
    Format(
        "torchserve-mar",
        "archives of TorchServe",
        (".mar",),
        f"A zip with the entry `{MANIFEST}`.",
        "The manifest: handler, model file, weights, requirements; names of entries; every entry as what it is.",
        "What the packages in its requirements are.",
        "*safe* with one of TorchServe's own handlers; *review* for a handler, a model file or requirements of its own;"
        " *danger* for entries and files outside of the archive, and for code that acts; *unverifiable* where the"
        " manifest"
        " cannot be read",
        untested="TorchServe's archiver is not among the packages of the tests; the honest one is put together alike.",
    ),
)
