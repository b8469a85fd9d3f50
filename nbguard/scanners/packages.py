"""Python packages: what installing one would run, and what it would put where.

    package = of_wheel(names) or of_egg(names) or of_source(names)
    judge(job, package, members, facts)

A wheel is unpacked, and what it calls itself decides where its files land; nothing of it runs until somebody imports
it, unless it brings a `.pth` file or `sitecustomize`. A source package is built by its `setup.py`, which runs at once.
Names that shadow others are data: `rules/tables/packages.toml`. Sources: PyPA's specifications "Binary distribution
format" and "Recording installed projects", `site.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nbguard.artifact.model import NotScanned
from nbguard.formats.view import View
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import package_code
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.members import examine_member
from nbguard.scanners.package_record import Record
from nbguard.scanners.tables import table

_WHEEL = re.compile(r"([^/]+?)-([^/-]+)\.dist-info/WHEEL\Z")
_SDIST = re.compile(r"(?:\./)?([^/]+)/PKG-INFO\Z")
_CONDA = re.compile(r"(?:\A|/)(?:bin/\.|Scripts/\.)[^/]+-(?:post-link|pre-link|pre-unlink)\.(?:sh|bat)\Z")
EGG_INFO = "EGG-INFO/PKG-INFO"
MOST_LINES = 500
"""Of a `.pth` file; those of namespace packages have one, of editable installs a few."""
MAX_TEXT = 8 << 20
"""Bytes of a list in a package that are read."""


@dataclass(frozen=True)
class Package:
    """What the members' names say of it."""

    kind: str
    """`wheel`, `egg` or `sdist`."""
    root: str
    """The folder that describes it, with a slash."""
    distribution: str
    """Its name as indexes compare them (PEP 503): lower case, `-` for every run of `-`, `_` and `.`."""
    others: bool = False
    """The members describe another package as well."""


def of_wheel(names: Sequence[str]) -> Package | None:
    """A wheel, by the file `<name>-<version>.dist-info/WHEEL`."""
    found = {m[0]: m for n in names if (m := _WHEEL.match(n))}
    match = next(iter(found.values()), None)
    if match is None:
        return None
    return Package("wheel", match[0].rpartition("/")[0] + "/", _normal(match[1]), len(found) > 1)


def of_egg(names: Sequence[str]) -> Package | None:
    """An egg, by `EGG-INFO/PKG-INFO`, which alone says what it is called: see `called`."""
    return Package("egg", "EGG-INFO/", "") if EGG_INFO in names else None


def called(package: Package, description: bytes) -> Package:
    """The same, with the name from its `PKG-INFO`."""
    match = re.search(rb"^Name:[ \t]*([\w.-]+)", description[:MAX_TEXT], re.MULTILINE)
    return replace(package, distribution=_normal(match[1].decode("ascii", "replace")) if match else "?")


def of_source(names: Sequence[str]) -> Package | None:
    """A source package, by `PKG-INFO` beside `setup.py` or `pyproject.toml` in its one folder."""
    match = next((m for n in names if (m := _SDIST.match(n))), None)
    if match is None:
        return None
    root = match[0].removesuffix("PKG-INFO")
    if not {f"{root}setup.py", f"{root}pyproject.toml"} & set(names):
        return None
    return Package("sdist", root, _normal(match[1].rpartition("-")[0] or match[1]))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def judge(job: Job, package: Package, members: Iterable[tuple[str, View]], facts: Facts) -> None:
    """Judge every member as what it becomes when the package is installed, and add that to `facts`."""
    tell = Teller(job, facts)
    record = Record() if package.kind == "wheel" else None
    modules = package_code.Modules(package.kind)
    for name, view in members:
        if record is not None:
            record.saw(name, view, package.root)
        place, rest = _place(package, name)
        _by_name(package, name, place, rest, tell)
        if place in ("purelib", "platlib") and rest.endswith(".pth") and "/" not in rest:
            _startup(name, _text(view), tell)
        elif name == f"{package.root}entry_points.txt":
            _entry_points(package, _text(view), tell)
        if rest.endswith((".py", ".pyw", ".pyi")) and view.size <= package_code.MAX_SOURCE:
            source = view.read(0, view.size)
            judged = modules.judge(job, name, source, setup=name == f"{package.root}setup.py")
        else:
            judged = examine_member(job, view, name, "package-member")
            if judged.verdict is Verdict.UNVERIFIABLE and judged.format == "unknown":
                # Packages bring data of all kinds; what opens them is their own code, which is told anyway.
                what = "bytes of no known format, which only the package's own code opens"
                facts.not_scanned.append(NotScanned(f"{job.path}!{name}"[:500], what))
                continue
        facts.code += judged.code
        facts.native += judged.native
        judged.code, judged.native, judged.references = [], [], []
        facts.merge(judged)
    if record is not None:
        record.judge(tell.say)
    if package.others:
        tell.say(
            "package.two-names",
            Severity.HIGH,
            package.root,
            "The wheel describes two packages at once; installers take different ones or refuse it.",
            verdict=Verdict.UNVERIFIABLE,
        )
    modules.finish(tell.say)
    tell.say(
        "package.code",
        Severity.MEDIUM,
        "",
        f"This is a Python package ({_CALLED[package.kind]}): it is installed and imported, not loaded.",
        meaning=_RUNS[package.kind],
        remedy="Install it only from a publisher you trust; a model needs none of its own.",
    )


_CALLED = {"wheel": "a wheel", "egg": "an egg", "sdist": "its source"}
_RUNS = {
    "wheel": "Its code runs with all your rights once it is imported.",
    "egg": "Its code runs with all your rights once it is imported.",
    "sdist": "Installing it runs its setup.py or its build system at once, with all your rights.",
}


class Teller:
    """Adds findings about a package."""

    def __init__(self, job: Job, facts: Facts) -> None:
        self.job, self.facts, self._said = job, facts, set[str]()

    def first(self, what: str) -> bool:
        """Whether this is asked for the first time."""
        new = what not in self._said
        self._said.add(what)
        return new

    def say(
        self,
        rule: str,
        severity: Severity,
        where: str,
        message: str,
        *,
        evidence: str = "",
        meaning: str = "",
        remedy: str = "Read it before you install it.",
        verdict: Verdict = Verdict.REVIEW,
    ) -> None:
        if sum(f.rule == rule for f in self.facts.findings[-200:]) >= 20:
            self.facts.verdict = max(self.facts.verdict, verdict)
            return
        if verdict is Verdict.DANGER:
            remedy = "Do not install it."
        finding = Finding(rule, severity, self.job.path, where[:200], message[:400], evidence[:500], meaning, remedy)
        self.facts.add(finding, verdict)


def _place(package: Package, name: str) -> tuple[str, str]:
    """(scheme, path in it) that a member is installed to; the scheme `info` for what only describes the package."""
    if package.kind == "sdist":
        return ("source", name.removeprefix(package.root))
    if package.kind == "egg":
        return ("scripts", name.rpartition("/")[2]) if name.startswith("EGG-INFO/scripts/") else ("purelib", name)
    data = package.root.removesuffix(".dist-info/") + ".data/"
    if name.startswith(data):
        scheme, _, rest = name.removeprefix(data).partition("/")
        return scheme, rest
    return ("info", name) if name.startswith(package.root) else ("purelib", name)


def _by_name(package: Package, name: str, place: str, rest: str, tell: Teller) -> None:
    """What a member's name alone says."""
    rules = table("packages")
    if place == "scripts":
        _command(package, rest, name, tell, "It puts a script on the path")
    elif place == "data":
        for row in rules["place"]:
            if any(rest.startswith(f"{folder}/") for folder in row["below"].split()):
                if not tell.first(row["reason"]):
                    break
                tell.say(
                    "package.place", Severity.HIGH, name, f"It puts a file into {rest[:150]}.", meaning=row["reason"]
                )
                break
        if rest.endswith(".pth"):
            tell.say(
                "package.startup",
                Severity.CRITICAL,
                name,
                "It puts a .pth file among the packages by a detour.",
                meaning="Python runs the lines of such files at every start.",
                verdict=Verdict.DANGER,
            )
    elif place in ("purelib", "platlib"):
        top, slash, below = rest.partition("/")
        module = top.partition(".")[0]
        if (not slash and rest.endswith((".py", ".so", ".pyd", ".pyc"))) or below == "__init__.py":
            _module(package, module, name, tell)


def _module(package: Package, module: str, name: str, tell: Teller) -> None:
    rules = table("packages")
    if module in rules["startup"]["modules"]:
        tell.say(
            "package.startup",
            Severity.CRITICAL,
            name,
            f"It brings {module}, which Python runs at every start.",
            meaning="After installing it, every Python of this environment runs it, nbguard's own kernel too.",
            verdict=Verdict.DANGER,
        )
    owners = rules["modules"].get(module)
    if owners is not None and package.distribution and package.distribution not in owners:
        tell.say(
            "package.shadows-module",
            Severity.CRITICAL,
            name,
            f"It brings a module {module}, which belongs to another package.",
            meaning=f"Installing it writes over {module}; whoever imports that runs this code instead.",
            verdict=Verdict.DANGER,
        )


def _command(package: Package, command: str, where: str, tell: Teller, lead: str) -> None:
    rules = table("packages")["commands"]
    bare = command.removesuffix(".exe")
    if bare in rules["names"] and package.distribution not in rules["owners"].get(bare, frozenset()):
        tell.say(
            "package.shadows-command",
            Severity.CRITICAL,
            where,
            f"{lead} that is called {command[:80]}, like a command that people use.",
            meaning="Whoever types that command in this environment runs this one instead.",
            verdict=Verdict.DANGER,
        )
    elif lead.startswith("It puts"):
        tell.say(
            "package.script", Severity.MEDIUM, where, f"{lead}: {command[:80]}.", meaning="It is started by its name."
        )


def _entry_points(package: Package, text: str, tell: Teller) -> None:
    """`[console_scripts]` become commands; other groups are found by the programs that ask for them."""
    where, group = f"{package.root}entry_points.txt", ""
    for line in text.splitlines():
        name, equals, _ = line.partition("=")
        name = name.strip()
        if name.startswith("["):
            group = name.strip("[] ")
        elif equals and name and group in ("console_scripts", "gui_scripts"):
            _command(package, name, where, tell, "Installing it makes a command")
            if "/" in name or "\\" in name:
                message = f"A command of it is called {name[:80]}, which leads out of the folder for commands."
                tell.say("package.entry-point", Severity.CRITICAL, where, message, verdict=Verdict.DANGER)


def _startup(name: str, text: str, tell: Teller) -> None:
    """`site.py`: a line that begins with `import` and a blank is run, any other one is put on the path."""
    # Python before 3.13 reads lines as files have them, later ones cut at every separator that Unicode knows.
    lines = dict.fromkeys([*text.splitlines(), *re.split(r"\r\n|\r|\n", text)])
    runs = [line for line in lines if line.startswith(("import ", "import\t"))]
    paths = [line.strip() for line in lines if line.strip() and not line.startswith(("import ", "import\t", "#"))]
    if len(lines) > MOST_LINES:
        message = "It brings a .pth file with more lines than anybody reads."
        tell.say("package.startup", Severity.CRITICAL, name, message, verdict=Verdict.DANGER)
        return
    for line in runs:
        harm = package_code.harm_in(line)
        tell.say(
            "package.startup",
            Severity.CRITICAL if harm else Severity.HIGH,
            name,
            "It brings a .pth file with code" + (f" that {harm}." if harm else "."),
            evidence=line,
            meaning="Python runs it at every start, whoever starts it and whatever for.",
            verdict=Verdict.DANGER if harm else Verdict.REVIEW,
        )
    for line in paths:
        outside = line.startswith(("/", "\\")) or ".." in line.replace("\\", "/").split("/") or line[1:2] == ":"
        tell.say(
            "package.path",
            Severity.HIGH,
            name,
            f"It adds a folder to where Python looks for modules: {line[:150]}",
            meaning="Modules of that folder are imported as if they were installed.",
            verdict=Verdict.DANGER if outside else Verdict.REVIEW,
        )


def _text(view: View) -> str:
    return view.read(0, min(view.size, MAX_TEXT)).decode("utf-8-sig", "replace")


def conda_scripts(job: Job, names: Iterable[str], facts: Facts) -> None:
    """Packages of conda may bring scripts that conda runs when it installs or removes them."""
    found = [n for n in names if _CONDA.search(n)]
    for name in found[:5]:
        facts.add(
            Finding(
                "package.conda-script",
                Severity.HIGH,
                job.path,
                name[:200],
                "It is a conda package with a script that conda runs.",
                meaning="Installing it runs the script at once, with all your rights.",
                remedy="Read the script before you install it.",
            ),
            Verdict.REVIEW,
        )


__all__ = ["EGG_INFO", "Package", "called", "conda_scripts", "judge", "of_egg", "of_source", "of_wheel"]
