"""Several reports as one: nothing is lost, and the worst counts."""

from __future__ import annotations

from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.commands.combined import combine, strictest
from nbguard.policy import Decision
from nbguard.report import sections
from nbguard.report.model import (
    Call,
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


def report(target: str, kind: str, verdict: Verdict, *verbs: str) -> Report:
    artifact = Artifact(target, kind, (ArtifactFile("f.pkl", 1, "pickle", f"sha256:{target}"),))
    contract = Contract(
        programs=(Program("f.pkl", "", 0, 1, target, "pickle"),),
        globals=(GlobalUse("os", "system", (("os", "system"),), verbs, "gadget"),),
        calls=(Call("os.system", "x", target),),
        code=(CodeFile("m.py", target),),
        containers={"f.pkl": "pickle"},
        effects=(f"effect.{target}",),
        local_modules={target: "dd"},
    )
    return Report(
        target,
        artifact,
        (FileReport("f.pkl", 1, "pickle", verdict),),
        (Finding("r", Severity.HIGH, "f.pkl", "", "m"),),
        contract,
        not_scanned=(NotScanned("g", "why"),),
        summary=("It loads.",),
    )


def test_nothing_is_lost():
    one = report("a.pkl", "path", Verdict.SAFE, "named")
    other = report("org/name", "hub", Verdict.DANGER, "reduce")
    both = combine([one, other], "2 loads")
    assert both.verdict is Verdict.DANGER
    assert [f.path for f in both.files] == ["a.pkl", "org/name/f.pkl"]
    assert [f.file for f in both.findings] == ["a.pkl", "org/name/f.pkl"]
    assert both.contract.effects == ("effect.a.pkl", "effect.org/name")
    assert both.contract.globals[0].verbs == ("named", "reduce")
    assert len(both.contract.programs) == len(both.contract.calls) == len(both.contract.code) == 2
    assert set(both.contract.containers) == {"a.pkl", "org/name/f.pkl"}
    assert set(both.contract.local_modules) == {"a.pkl", "org/name"}
    assert both.summary == ("a.pkl: It loads.", "org/name: It loads.")
    assert len(both.not_scanned) == 2


def test_where_it_came_from_names_the_targets_unchanged():
    both = combine([report("my_a.pkl", "path", Verdict.SAFE), report("org/name", "hub", Verdict.SAFE)], "2 loads")
    page = sections.provenance(both)
    assert "my_a.pkl, org/name" in page.split("</summary>")[0]
    assert "<dt>my_a.pkl</dt>" in page
    assert "<dt>org/name</dt>" in page


def test_the_strictest_decision_counts():
    ask = Decision("ask", "compact", ("once", "always", "refuse"), ("a",), "one")
    danger = Decision("ask", "danger", ("once", "refuse"), ("a", "b"), "two")
    deny = Decision("deny", "blocked", (), ("c",), "three")
    found = strictest([ask, danger])
    assert (found.action, found.form, found.offers, found.rules) == ("ask", "danger", ("once", "refuse"), ("a", "b"))
    assert strictest([danger, ask]).form == "danger"
    assert strictest([ask, deny, danger]).action == "deny"
    assert strictest([ask, deny]).offers == ()
