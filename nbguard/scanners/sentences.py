"""Plain sentences of what loading would do.

summary(report, facts)    # ("Loading this builds 148 tensors (1.0 GB) and runs no code.",)
"""

from __future__ import annotations

from collections.abc import Mapping

from nbguard.report.model import Report, Verdict
from nbguard.scanners.facts import Facts
from nbguard.scanners.members import BESIDE

_MAX_NAMES = 4


def summary(report: Report, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """One sentence each for what is built, what runs, and what could not be read; names from the model are bounded."""
    out: list[str] = []
    loaded = [facts[f.path] for f in report.files if not f.inert and f.path in facts]
    built = _built(loaded)
    contract = report.contract
    runs = [c for c in contract.code if c.kind == "python"]
    gadgets = [g.dotted for g in contract.globals if g.level == "gadget"]
    classes = [g for g in contract.globals if not g.dotted.startswith("__torch__.")]
    unknown = [g for g in classes if g.level == "unknown"]
    library = [g for g in classes if g.level == "library"]
    acting = [f for f in report.findings if f.rule in ("code.acts-at-import", "code.acts-at-load")]
    if gadgets:
        out.append(f"Loading this would call {_some(gadgets)}.")
    if acting:
        out.append(f"Its code acts as soon as it is loaded: {acting[0].file[:80]}, {acting[0].location}.")
    by_hand = [f.path for f in report.files if f.format in BESIDE and f.verdict is Verdict.DANGER]
    if by_hand:
        out.append(f"Loading does not run {by_hand[0][:80]}; whoever runs it does what is found below.")
    if runs and not acting:
        come = "comes" if len(runs) == 1 else "come"
        out.append(
            f"Loading this with trust_remote_code runs {_files(len(runs))} of Python code that {come} with the model."
        )
    if any(c.kind == "torchscript" for c in contract.code):
        out.append("Loading this compiles TorchScript code that comes with the model.")
    if contract.native:
        out.append(f"It brings {_files(len(contract.native))} of machine code, which cannot be judged.")
    if not gadgets:
        for made, text in ((True, "builds objects of classes"), (False, "uses names")):
            if names := [g.dotted for g in unknown if g.makes_objects is made]:
                out.append(f"{_lead(out)} {text} that are not known here: {_some(names)}.")
        for made, text in ((True, "builds objects of"), (False, "uses functions and constants of")):
            if names := [g.dotted for g in library if g.makes_objects is made]:
                out.append(f"{_lead(out)} {text} {_packages(names)}: {_some(names)}.")
    if report.verdict is Verdict.UNVERIFIABLE:
        unread = next((f for f in report.findings if f.severity >= 3), None)
        why = f" {unread.message.rstrip('.')[:300]}." if unread else ""
        out.insert(0, f"What loading this would do cannot be said.{why}")
    if report.verdict is Verdict.SAFE:
        out.insert(
            0,
            "A text file; no loader runs anything from it."
            if len(loaded) == 1 and loaded[0].format == "text"
            else f"Loading this {built or 'reads data'} and runs no code.",
        )
    elif not out and report.findings:
        out.append(report.findings[0].message[:300])
    if built and report.verdict is not Verdict.SAFE:
        known = report.verdict is not Verdict.UNVERIFIABLE
        out.append(f"{_lead(out)} {built}." if known else f"As far as it was read, it {built}.")
    return tuple(out)


def _lead(before: list[str]) -> str:
    return "It also" if before else "Loading this"


def _built(loaded: list[Facts]) -> str:
    count = {k: sum(f.counts.get(k, 0) for f in loaded) for k in ("tensors", "tensor_bytes", "arrays", "array_bytes")}
    parts = []
    if count["tensors"]:
        parts.append(f"{count['tensors']:,} tensor{'s' * (count['tensors'] != 1)} ({human(count['tensor_bytes'])})")
    elif count["tensor_bytes"]:
        parts.append(f"tensors ({human(count['tensor_bytes'])})")
    if count["arrays"]:
        parts.append(f"{count['arrays']:,} array{'s' * (count['arrays'] != 1)} ({human(count['array_bytes'])})")
    if trees := sum(f.counts.get("trees", 0) for f in loaded):
        parts.append(f"{trees:,} decision tree{'s' * (trees != 1)}")
    return "builds " + " and ".join(parts) if parts else ""


def human(nbytes: int) -> str:
    """Bytes in decimal units, as file managers and the Hub show them."""
    value = float(nbytes)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def _some(names: list[str]) -> str:
    shown = [n[:80] for n in sorted(set(names))]
    rest = len(shown) - _MAX_NAMES
    return ", ".join(shown[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _packages(names: list[str]) -> str:
    return _some([n.partition(".")[0] for n in names])


def _files(number: int) -> str:
    return f"{number} file{'s' * (number != 1)}"
