"""Who is asked, and that every way which is not a person's own answer ends in a refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sample_reports import HOSTILE, REQUEST, decision, report

from nbguard import gate
from nbguard.gate import faces
from nbguard.gate.answer import MOST_TICKS, person, question
from nbguard.report.model import Finding, Severity, Verdict


class Kernel:
    def __init__(self, allow_stdin: object, kept: bool = False) -> None:
        self.content = {} if allow_stdin is None else {"allow_stdin": allow_stdin}
        self._allow_stdin = kept

    def get_parent(self, channel: str) -> dict[str, object]:
        return {"header": {"msg_id": "1"}, "content": self.content}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "kernel", lambda: None)
    monkeypatch.setattr(faces, "_at_a_terminal", lambda: True)
    monkeypatch.setenv("NBGUARD_FACE", "text")


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    left: Iterator[str] = iter(answers)

    def read(prompt: str = "") -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)


@pytest.mark.parametrize(
    ("allow_stdin", "kept", "wish", "face"),
    [
        (True, False, "", "widget"),
        (True, False, "text", "terminal"),
        (True, False, "none", "none"),
        (False, True, "", "none"),
        (False, True, "text", "none"),
        (None, True, "", "widget"),
        (None, False, "", "none"),
        ("yes", False, "", "none"),
    ],
)
def test_the_face_of_a_kernel(
    monkeypatch: pytest.MonkeyPatch, allow_stdin: object, kept: bool, wish: str, face: str
) -> None:
    monkeypatch.setattr(faces, "kernel", lambda: Kernel(allow_stdin, kept))
    monkeypatch.setenv("NBGUARD_FACE", wish)
    assert gate.frontend() == face


def test_a_kernel_that_cannot_be_asked_who_is_there_has_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "kernel", lambda: object())
    assert gate.frontend() == "none"


@pytest.mark.parametrize("wish", ["", "text", "none"])
def test_nobody_is_at_a_pipe(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    monkeypatch.setattr(faces, "_at_a_terminal", lambda: False)
    monkeypatch.setenv("NBGUARD_FACE", wish)
    assert gate.frontend() == "none"


def test_a_script_at_a_terminal_may_have_been_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "_at_a_terminal", lambda: True)
    monkeypatch.setattr(faces, "shell", lambda: None)
    monkeypatch.delenv("NBGUARD_FACE", raising=False)
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert gate.frontend() == "none"
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert gate.frontend() == "terminal"


def test_without_a_person_the_answer_is_no_and_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_FACE", "none")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked nobody"))
    for verdict in Verdict:
        answer = gate.ask(report(verdict), decision(verdict), REQUEST)
        assert (answer.choice, answer.face) == ("refuse", "none")


@pytest.mark.parametrize("verdict", [Verdict.SAFE, Verdict.REVIEW])
@pytest.mark.parametrize(
    ("answers", "choice"),
    [
        (("once",), "once"),
        ((" ALWAYS ",), "always"),
        (("",), "refuse"),
        (("no",), "refuse"),
        ((), "refuse"),
        (("y", "yes", "ok"), "refuse"),
        (("y", "once"), "once"),
    ],
)
def test_a_terminal_takes_only_its_words(
    terminal: None, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, answers: tuple[str, ...], choice: str
) -> None:
    typed(monkeypatch, *answers)
    answer = gate.ask(report(verdict), decision(verdict), REQUEST)
    assert (answer.choice, answer.face, answer.who) == (choice, "terminal", person())


@pytest.mark.parametrize(
    ("answers", "choice"),
    [
        (("once",), "refuse"),
        (("load anyway",), "refuse"),
        (("load anyway", ""), "refuse"),
        (("load anyway", "for the lab"), "refuse"),
        (("load anyway", "for the lab", ""), "once"),
        (("Load Anyway", "for the lab", "always"), "always"),
        (("yes",), "refuse"),
    ],
)
def test_danger_in_a_terminal_takes_a_phrase_and_a_reason(
    terminal: None, monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...], choice: str
) -> None:
    typed(monkeypatch, *answers)
    answer = gate.ask(report(Verdict.DANGER), decision(Verdict.DANGER), REQUEST)
    assert answer.choice == choice
    if choice != "refuse":
        assert answer.reason == "for the lab"


def test_what_is_not_offered_cannot_be_typed(terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "always", "always", "always")
    assert gate.ask(report(Verdict.REVIEW), decision(Verdict.REVIEW, offers=("once",)), REQUEST).choice == "refuse"


def test_a_terminal_is_shown_no_control_sequence(
    terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "")
    hostile = replace(REQUEST, loader=HOSTILE)
    gate.ask(report(Verdict.DANGER, hostile=HOSTILE), decision(Verdict.DANGER), hostile)
    gate.announce(report(Verdict.SAFE, hostile=HOSTILE), replace(decision(Verdict.SAFE), action="allow"), hostile)
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\u202e" not in shown.out + shown.err
    assert "DANGER" in shown.out
    assert "SAFE" in shown.err


@pytest.mark.parametrize("verdict", [Verdict.REVIEW, Verdict.DANGER])
def test_verdict_and_target_stand_beside_the_prompt(
    terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: Verdict
) -> None:
    before: list[str] = []

    def read(prompt: str = "") -> str:
        before.append(capsys.readouterr().out)
        return ""

    monkeypatch.setattr("builtins.input", read)
    asked = report(verdict)
    gate.ask(asked, decision(verdict), REQUEST)
    ending = before[0].split("Where it came from")[-1]
    assert verdict.word.upper() in ending
    assert asked.target in ending


def test_the_danger_prompt_cuts_and_wraps_between_words(
    terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "")
    monkeypatch.setenv("COLUMNS", "60")
    words = " ".join(f"word{n:04}" for n in range(100))
    finding = Finding("r", Severity.HIGH, "f", "", words)
    gate.ask(replace(report(Verdict.DANGER), findings=(finding,)), decision(Verdict.DANGER), REQUEST)
    told = capsys.readouterr().out.split("Where it came from")[-1].split("  • ")[1].split("Do not load it")[0]
    assert max(map(len, told.splitlines())) <= 60
    assert set(told.replace("HIGH:", "").replace("…", "").split()) <= set(words.split())


def test_an_interrupt_is_passed_on(terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(prompt: str = "") -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gate.ask(report(Verdict.REVIEW), decision(Verdict.REVIEW), REQUEST)


def test_a_policy_that_only_watches_is_told_as_what_it_is(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    watched = replace(decision(Verdict.DANGER), enforced=False)
    gate.announce(report(Verdict.DANGER), watched, REQUEST)
    assert "only watches" in capsys.readouterr().err


def test_the_question_is_the_stricter_of_verdict_and_decision() -> None:
    lax = replace(decision(Verdict.SAFE), offers=("once", "always", "refuse"))
    assert question(report(Verdict.UNVERIFIABLE), lax).offers == ()
    assert question(report(Verdict.UNVERIFIABLE), lax).form == "blocked"
    assert question(report(Verdict.DANGER), lax).form == "danger"
    assert question(report(Verdict.DANGER), lax).ticks
    assert question(report(Verdict.REVIEW), lax).form == "full"
    assert question(report(Verdict.SAFE), lax).form == "compact"
    assert question(report(Verdict.SAFE), replace(lax, action="deny")).form == "blocked"
    assert question(report(Verdict.SAFE), replace(lax, offers=("refuse", "convert"))).form == "blocked"


def test_every_serious_finding_has_its_tick_and_the_list_stays_short() -> None:
    danger = report(Verdict.DANGER)
    many = tuple(Finding("r", Severity.HIGH, "f", "", f"number {n}") for n in range(500))
    ticks = question(replace(danger, findings=many), decision(Verdict.DANGER)).ticks
    assert len(ticks) == MOST_TICKS
    assert "489 more" in ticks[-1]
    none = question(replace(danger, findings=()), decision(Verdict.DANGER)).ticks
    assert len(none) == 1, "there is always something to tick"


def test_asking_needs_nothing_heavy_until_it_asks() -> None:
    code = (
        "import sys, nbguard.gate, nbguard.report.text, nbguard.report.html\n"
        "print([m for m in ('ipywidgets', 'IPython', 'zmq', 'rich', 'numpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
