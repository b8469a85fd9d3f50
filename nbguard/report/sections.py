"""The parts that an HTML report is put together from.

    band(report)        # the verdict across the top
    findings(report)    # what was found, the worst first

Every part returns HTML in which each string that is not ours went through `report.escape`.
"""

from __future__ import annotations

from nbguard.report import words
from nbguard.report.escape import BLOCK, attribute, html
from nbguard.report.model import FileReport, Report, Severity, Verdict

MOST_FINDINGS = 60
MOST_ROWS = 60
"""Rows of one table. A hostile repository can have any number; the JSON report holds them all."""

_OPEN_FROM = Severity.HIGH
_OPEN_AT_MOST = 2


def band(report: Report, *, loader: str = "") -> str:
    """The verdict that one can see from across the room: shape, symbol, word, colour, and what it is about."""
    verdict = words.VERDICTS[report.verdict]
    call = f"<code>{html(loader, 80)}</code>" if loader else ""
    return (
        f'<div class="nbg-band"><div class="nbg-mark" aria-hidden="true">{verdict.symbol}</div>'
        f'<div><div class="nbg-verdict">{verdict.name}</div>'
        f'<div class="nbg-headline">{html(verdict.headline)}</div></div>'
        f'<div class="nbg-call"><b>{html(report.target, 160)}</b>{call}</div></div>'
    )


def does(report: Report) -> str:
    """Plain sentences of what loading would do."""
    rows = "".join(f"<li>{html(s)}</li>" for s in words.summary(report)[:20])
    return _part("What loading it would do", f'<ul class="nbg-does">{rows}</ul>')


def _list(sentences: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{html(s, 600)}</li>" for s in sentences) + "</ul>"


def _part(title: str, inside: str) -> str:
    return f'<div class="nbg-part"><div class="nbg-title">{title}</div>{inside}</div>'


def findings(report: Report, *, opened: bool = True) -> str:
    """Each finding with file, place, evidence, why it matters and what to do; the worst first."""
    groups = words.grouped(report.findings)
    if not groups:
        return ""
    rows = []
    for number, group in enumerate(groups[:MOST_FINDINGS]):
        show = opened and number < _OPEN_AT_MOST and group.first.severity >= _OPEN_FROM
        rows.append(_finding(group, opened=show))
    if len(groups) > MOST_FINDINGS:
        left = words.plural(len(groups) - MOST_FINDINGS, "more finding")
        rows.append(f'<p class="nbg-quiet">{left}, none worse than those above; all are in the JSON report.</p>')
    counts = ", ".join(
        f"{sum(f.severity is level for f in report.findings)} {name.lower()}"
        for level, name in words.SEVERITIES.items()
        if any(f.severity is level for f in report.findings)
    )
    return _part(f"What was found: {counts}", "".join(rows))


def _finding(group: words.FindingGroup, *, opened: bool) -> str:
    finding = group.first
    where = html(words.place(*group.places[0]), 160)
    if len(group.places) > 1:
        where += f" and {words.plural(len(group.places) - 1, 'more place')}"
    rows = []
    if finding.evidence:
        rows.append(f"<dt>Seen</dt><dd><pre>{html(finding.evidence, BLOCK, block=True)}</pre></dd>")
    if finding.meaning:
        rows.append(f"<dt>Why it matters</dt><dd>{html(finding.meaning, 1_000)}</dd>")
    if finding.remedy:
        rows.append(f"<dt>What to do</dt><dd>{html(finding.remedy, 1_000)}</dd>")
    if len(group.places) > 1:
        places = "<br>".join(html(words.place(*p), 160) for p in group.places[:20])
        more = f"<br>and {len(group.places) - 20} more" if len(group.places) > 20 else ""
        rows.append(f"<dt>Places</dt><dd>{places}{more}</dd>")
    rows.append(f'<dt>Rule</dt><dd class="nbg-quiet">{html(finding.rule, 80)}</dd>')
    return (
        f'<details class="nbg-finding nbg-{finding.severity.word}"{" open" if opened else ""}><summary>'
        f'<span class="nbg-sev">{words.SEVERITIES[finding.severity]}</span>'
        f'<span class="nbg-msg">{html(finding.message, 400)} <span class="nbg-where">{where}</span></span></summary>'
        f'<div class="nbg-more"><dl>{"".join(rows)}</dl></div></details>'
    )


def picture(report: Report) -> str:
    """A bar of what the bytes are. Patterns tell the parts from each other, not only colours."""
    amounts = words.regions(report)
    total = sum(amounts.values())
    if not total:
        return ""
    bar, keys, spoken = [], [], []
    for key, label, meaning in words.REGIONS:
        amount = amounts[key]
        if not amount:
            continue
        share = 100 * amount / total
        shown = f"{share:.0f} %" if share >= 1 else "under 1 %"
        bar.append(f'<i class="nbg-r-{key}" style="flex:{max(share, 0.01):.3f} 1 0"></i>')
        keys.append(
            f'<span class="nbg-key" title="{attribute(meaning)}"><i class="nbg-r-{key}"></i>'
            f"<span><b>{label}</b> {words.size(amount)}, {shown}</span></span>"
        )
        spoken.append(f"{label} {shown}")
    return (
        '<div class="nbg-part"><div class="nbg-title">What the bytes are</div>'
        f'<div class="nbg-bar" role="img" aria-label="{", ".join(spoken)}">{"".join(bar)}</div>'
        f'<div class="nbg-keys">{"".join(keys)}</div></div>'
    )


def _fold(title: str, note: str, inside: str, *, opened: bool = False) -> str:
    note = f" <span>{note}</span>" if note else ""
    state = " open" if opened else ""
    return f'<details class="nbg-fold"{state}><summary>{title}{note}</summary><div>{inside}</div></details>'


_PROVENANCE_LABELS = {
    "source": "Source",
    "repo": "Repository",
    "publisher": "Publisher",
    "commit": "Commit",
    "path": "Path",
    "modified": "Last changed",
    "size": "Size",
}


def _label(key: str) -> str:
    """What a fact is called; one that is named after a file or repository keeps that name."""
    return key if "/" in key or "." in key else key.replace("_", " ").capitalize()


def provenance(report: Report, rules: tuple[str, ...] = ()) -> str:
    """Where it came from, the digest that an approval is bound to, and the ids of the `rules` that decided."""
    who, where = words.origin(report)
    rows = [(_PROVENANCE_LABELS.get(key) or _label(key), words.fact(key, value)) for key, value in where]
    if report.artifact.commit and "commit" not in report.provenance:
        rows.append(("Commit", report.artifact.commit))
    rows.append(("Content digest", report.artifact.digest))
    if report.rules_version:
        rows.append(("Rules", report.rules_version))
    if rules:
        rows.append(("Decided by", ", ".join(rules)))
    inside = "".join(f"<dt>{html(k, 40)}</dt><dd>{html(v)}</dd>" for k, v in rows)
    note = next((report.provenance[k] for k in ("publisher", "repo", "path", "source") if report.provenance.get(k)), "")
    told = "".join(f"<dt>{html(key[:1].upper() + key[1:], 40)}</dt><dd>{html(value)}</dd>" for key, value in who)
    publisher = _fold("Who published it", "as the Hub says", f"<dl>{told}</dl>") if who else ""
    return publisher + _fold("Where it came from", html(note, 120), f"<dl>{inside}</dl>")


def files(report: Report) -> str:
    """Every file, those that a loader would open first."""
    ordered = sorted(report.files, key=lambda f: (f.inert, -int(f.verdict), f.path))
    rows = "".join(_file(f) for f in ordered[:MOST_ROWS])
    if len(ordered) > MOST_ROWS:
        rows += f'<tr><td colspan="4" class="nbg-quiet">and {len(ordered) - MOST_ROWS} more</td></tr>'
    loaded = sum(not f.inert for f in report.files)
    note = words.plural(loaded, "file") + " that a loader would open"
    if loaded < len(report.files):
        note += f", {len(report.files) - loaded} beside them"
    table = f"<table><tr><th>File</th><th>Size</th><th>Format</th><th>Verdict</th></tr>{rows}</table>"
    return _fold("Files", note, f'<div class="nbg-scroll">{table}</div>')


def _file(file: FileReport) -> str:
    verdict = words.VERDICTS[file.verdict]
    judged = '<span class="nbg-quiet">not opened</span>' if file.inert else f"{verdict.symbol} {verdict.name}"
    return (
        f'<tr><td>{html(file.path)}</td><td class="nbg-n">{words.size(file.size)}</td>'
        f"<td>{html(file.format, 60)}</td><td>{judged}</td></tr>"
    )


def contract(report: Report) -> str:
    """What loading may do, in words and then to the letter."""
    unread = report.verdict is Verdict.UNVERIFIABLE  # nothing can be allowed of it, so nothing is promised
    told = "" if unread else _list(words.contract_sentences(report))
    letter = _names(report) + _programs(report) + _code(report)
    if report.contract.calls:
        rows = "".join(
            f"<tr><td>{html(c.target, 120)}</td><td><code>{html(c.arguments)}</code></td></tr>"
            for c in report.contract.calls[:MOST_ROWS]
        )
        letter += f"<table><tr><th>Call</th><th>Arguments</th></tr>{rows}</table>"
    digest = f'<p class="nbg-quiet">Contract {html(report.contract.digest)}</p>'
    return _fold(
        "What could be read of it" if unread else "What it may do if it is accepted",
        "" if unread else "and nothing else",
        f'{told}<div class="nbg-scroll">{letter}</div>{digest}',
    )


def _names(report: Report) -> str:
    uses = sorted(report.contract.globals, key=lambda u: (u.level in ("data", "library"), u.dotted))
    if not uses:
        return ""
    rows = "".join(
        f"<tr><td>{html(u.dotted, 160)}</td><td>{', '.join(words.VERBS.get(v, html(v, 20)) for v in u.verbs)}</td>"
        f"<td>{html(u.reason or u.level)}</td></tr>"
        for u in uses[:MOST_ROWS]
    )
    if len(uses) > MOST_ROWS:
        rows += f'<tr><td colspan="3" class="nbg-quiet">and {len(uses) - MOST_ROWS} more</td></tr>'
    return f"<table><tr><th>Name</th><th>What is done with it</th><th>Why it is listed so</th></tr>{rows}</table>"


def _programs(report: Report) -> str:
    rows = "".join(
        f'<tr><td>{html(words.place(p.file, p.member), 160)}</td><td class="nbg-n">{p.length:,} bytes</td>'
        f"<td>{html(p.container, 30)}</td><td><code>{html(p.sha256[:16])}…</code></td></tr>"
        for p in report.contract.programs[:MOST_ROWS]
    )
    if not rows:
        return ""
    if len(report.contract.programs) > MOST_ROWS:
        rows += f'<tr><td colspan="4" class="nbg-quiet">and {len(report.contract.programs) - MOST_ROWS} more</td></tr>'
    return f"<table><tr><th>Program</th><th>Length</th><th>Container</th><th>SHA-256</th></tr>{rows}</table>"


def _code(report: Report) -> str:
    listed = [*report.contract.code, *report.contract.native]
    rows = "".join(
        f"<tr><td>{html(c.path)}</td><td>{html(c.kind, 30)}</td><td><code>{html(c.sha256[:16])}…</code></td></tr>"
        for c in listed[:MOST_ROWS]
    )
    return f"<table><tr><th>Code</th><th>Kind</th><th>SHA-256</th></tr>{rows}</table>" if rows else ""


def not_scanned(report: Report, *, opened: bool = False) -> str:
    """What was not looked at, and why; said even where it is nothing."""
    if not report.not_scanned:
        if report.verdict is Verdict.UNVERIFIABLE:
            return ""  # something was not read, and the findings say what
        return (
            '<p class="nbg-part nbg-quiet">Nothing that a loader would open was left out.</p>' if report.files else ""
        )
    rows = "".join(
        f"<tr><td>{html(n.path, 160)}</td><td>{html(n.why)}</td></tr>" for n in report.not_scanned[:MOST_ROWS]
    )
    if len(report.not_scanned) > MOST_ROWS:
        rows += f'<tr><td colspan="2" class="nbg-quiet">and {len(report.not_scanned) - MOST_ROWS} more</td></tr>'
    count = words.plural(len(report.not_scanned), "thing")
    return _fold("Not looked at", count, f"<table><tr><th>What</th><th>Why</th></tr>{rows}</table>", opened=opened)
