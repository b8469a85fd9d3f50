"""Every face tells the same: the verdict first, what it would do, what was found, what was not looked at."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from sample_reports import HOSTILE, decision, report

from nbguard.report import html, json_, text, words
from nbguard.report.model import FileReport, Finding, NotScanned, Severity, Verdict
from nbguard.report.words import Outcome

VOID = {"br", "meta", "img"}


class Elements(HTMLParser):
    """Collects the elements of a page and checks that they nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.said += data


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("hostile", ["", HOSTILE], ids=["honest", "hostile"])
def test_html_holds_no_element_of_the_models(verdict: Verdict, hostile: str) -> None:
    shown = report(verdict, hostile=hostile)
    outcome = Outcome("refused", f"Refused. Reason given: {hostile}")
    for page in (
        html.render(shown, decision(verdict), outcome=outcome, loader=hostile),
        html.compact(shown, decision(verdict), outcome=outcome),
        html.line(shown),
        html.page([shown], title=hostile),
    ):
        elements = Elements(page)
        tags = {tag for tag, _ in elements.seen}
        assert not tags & {"script", "img", "a", "iframe", "svg", "link", "object", "form", "input"}
        for _, attributes in elements.seen:
            assert not [name for name in attributes if name.startswith("on") or name in ("href", "src")]
        assert words.VERDICTS[verdict].name in elements.said
        assert "\x1b" not in page
        assert "\u202e" not in page


@pytest.mark.parametrize("verdict", Verdict)
def test_every_part_of_the_report_is_shown(verdict: Verdict) -> None:
    shown = report(verdict)
    said = Elements(html.render(shown, decision(verdict), loader="torch.load")).said
    printed = text.render(shown, decision(verdict))
    for face in (said, printed):
        assert shown.target in face
        assert shown.artifact.digest in face
        assert decision(verdict).reason in face
        for sentence in shown.summary:
            assert sentence in face
        for finding in shown.findings:
            for part in (finding.message, finding.file, finding.rule):
                assert part in face
        for left_out in shown.not_scanned:
            assert left_out.why in face


def test_the_verdict_is_never_told_by_colour_alone() -> None:
    told = {(w.name, w.symbol) for w in words.VERDICTS.values()}
    assert len({name for name, _ in told}) == len({symbol for _, symbol in told}) == len(Verdict)
    for verdict in Verdict:
        plain = text.render(report(verdict), color=False)
        assert words.VERDICTS[verdict].symbol in plain.splitlines()[0]
        assert words.VERDICTS[verdict].name.upper() in plain.splitlines()[0]
        assert "\x1b" not in plain


def test_colour_adds_nothing_but_colour() -> None:
    import re

    for verdict in Verdict:
        shown = report(verdict, hostile=HOSTILE)
        colored = text.render(shown, color=True)
        assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == text.render(shown, color=False)


@pytest.mark.parametrize("width", [20, 60, 100, 200])
def test_text_keeps_to_its_width(width: int) -> None:
    lines = text.render(report(Verdict.DANGER, hostile=HOSTILE * 5), width=width).splitlines()
    assert max(map(len, lines)) <= max(40, width) + 20


def test_many_findings_cannot_hide_the_worst() -> None:
    shown = report(Verdict.DANGER)
    noise = tuple(Finding(f"noise.{n}", Severity.LOW, f"f{n}", "", f"noise number {n}") for n in range(5_000))
    crowded = replace(shown, findings=(*noise, *shown.findings))
    for face in (html.render(crowded), text.render(crowded), text.brief(crowded)):
        assert "Calls posix.system" in face
        assert "more finding" in face
        assert len(face) < 200_000
    repeated = replace(shown, findings=tuple(replace(noise[0], file=f"f{n}") for n in range(5_000)))
    assert html.render(repeated).count("noise number 0") == 1
    assert "4,999 more places" in html.render(repeated)


def test_a_repository_of_many_files_stays_readable() -> None:
    shown = report(Verdict.REVIEW)
    files = tuple(FileReport(f"f{n}", n, "pickle", Verdict.SAFE) for n in range(5_000))
    crowded = replace(shown, files=(*files, *shown.files), not_scanned=(NotScanned("x", "y"),) * 5_000)
    assert len(html.render(crowded)) < 200_000
    assert len(text.render(crowded)) < 20_000
    assert "model.bin" in text.render(crowded), "the worst file is listed first"


def test_the_short_form_names_the_command_that_would_approve() -> None:
    assert "nbguard approve /home/ada/models/model.bin" in text.brief(report(Verdict.REVIEW)).splitlines()[-2]
    assert text.brief(report(Verdict.DANGER)).splitlines()[-2].endswith("--i-accept-danger")
    asked = text.brief(report(Verdict.DANGER), reason=True).splitlines()[-2]
    assert asked.endswith('model.bin --reason "…" --i-accept-danger')
    assert "nbguard approve" not in text.brief(report(Verdict.UNVERIFIABLE))
    assert len(text.brief(report(Verdict.DANGER, hostile=HOSTILE * 100))) < 8_000


@pytest.mark.parametrize(
    "name", ["a b/$(touch x)`y`;z.bin", "-rf", "quo'te", "line\nbreak", "caf\udce9.bin", "\x1b[2J"]
)
def test_a_hostile_name_stays_one_word_of_the_command(name: str) -> None:
    shown = report(Verdict.REVIEW)
    shown = replace(shown, provenance={"path": f"/models/{name}"})
    command = words.approve_command(shown)
    assert command is not None
    assert command.isprintable()
    if words.terminal(name) == name:
        assert shlex.split(command) == ["nbguard", "approve", f"/models/{name}"]
    else:
        assert command.startswith("nbguard approve $'/models/")


def test_a_stream_and_the_unreadable_have_no_approving_command() -> None:
    shown = report(Verdict.REVIEW)
    stream = replace(shown, artifact=replace(shown.artifact, kind="stream"))
    assert words.approve_command(stream) is None
    assert words.approve_command(report(Verdict.UNVERIFIABLE)) is None


def test_the_picture_claims_no_more_than_was_measured() -> None:
    shown = report(Verdict.SAFE)
    partly = replace(shown, files=(FileReport("m", 100, "pickle", Verdict.REVIEW, regions={"data": 30, "code": 10}),))
    assert words.regions(partly) == {"data": 30, "code": 10, "unknown": 60}
    mixed = replace(shown, files=(*partly.files, FileReport("n", 50, "pickle", Verdict.UNVERIFIABLE)))
    assert words.regions(mixed)["unknown"] == 110
    unmeasured = replace(shown, files=(FileReport("m", 100, "json", Verdict.SAFE),))
    assert words.regions(unmeasured) == {"data": 100, "code": 0, "unknown": 0}


def test_a_report_of_nothing_at_all_renders() -> None:
    empty = replace(report(Verdict.SAFE), files=(), summary=(), provenance={}, not_scanned=())
    assert empty.verdict is Verdict.UNVERIFIABLE
    assert "Unverifiable" in html.render(empty)
    assert "UNVERIFIABLE" in text.render(empty)
    assert "UNVERIFIABLE" in text.brief(empty)
    assert "Nothing was scanned" in html.page([])


def test_json_is_ascii_and_reads_back() -> None:
    out = json_.dumps([report(Verdict.DANGER, hostile=HOSTILE + "\udcff")])
    assert out.isascii()
    assert json.loads(out)["reports"][0]["verdict"] == "danger"


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (18_240, "18.2 kB"), (438_004_736, "438 MB"),
     (999_600, "1.0 MB"), (2 * 10**15, "2000 TB")],
)  # fmt: skip
def test_sizes_for_people(count: int, told: str) -> None:
    assert words.size(count) == told
