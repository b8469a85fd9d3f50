"""Several reports as one: nothing is lost, and the worst counts."""

from __future__ import annotations

import dataclasses

from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.commands.combined import combine, strictest
from nbguard.policy import Decision
from nbguard.report import sections
from nbguard.report.advice import Advice, Meant, Way
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
    assert both.summary == ("2 would be loaded: 1 danger, 1 safe.", "a.pkl: It loads.", "org/name: It loads.")
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


def test_what_is_never_one_click_stays_so_among_others() -> None:
    one = dataclasses.replace(
        report("g00gle/x", "hub", Verdict.SAFE),
        floor=Verdict.REVIEW,
        advice=Advice(
            Meant("google/x", "Google", "homoglyph", "…"),
            ways=(Way("safetensors", "a = 1", "why", (("use_safetensors", True),)), Way("pinned", "b = 2", "why")),
        ),
    )
    other = dataclasses.replace(
        report("b.pkl", "path", Verdict.SAFE), advice=Advice(ways=(Way("pinned", "c = 3", "why"),))
    )
    both = combine([one, other], "2 loads")
    assert both.verdict is Verdict.REVIEW
    assert both.advice.meant is not None
    assert [(w.kind, w.line) for w in both.advice.ways] == [("safetensors", "a = 1"), ("pinned", "b = 2\nc = 3")]
    assert all(not way.arguments for way in both.advice.ways), "no button does for all what one could do"
