"""What holds for the project as a whole: its layout, its budget of imports, its documents, its packaging."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nbguard"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 420
HEAVY = (
    "torch", "transformers", "fickling", "sqlalchemy", "pandas", "joblib", "numpy", "rich", "ipywidgets",
    "huggingface_hub",
)  # fmt: skip


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str | None:
    data = path.read_bytes()
    return None if b"\0" in data else data.decode("utf-8", errors="replace")


# --- what may not stand in the project -------------------------------------------------------------------------------

FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.])/work" + r"/",  # a path of one machine
            r"/root" + r"/\.|/tmp/bri" + r"ef",
            r"pypi\."
            + r"org|pythonhosted\."
            + r"org|registry\.npm"
            + r"js|download\.pytorch"
            + r"\.org|deb\.debian"
            + r"\.org",
            r"\bTO" + r"DO\b|\bFIX" + r"ME\b",
        ]
    )
)


def test_nothing_names_a_machine_or_a_registry_or_puts_work_off() -> None:
    found = []
    for path in tracked():
        text = text_of(path)
        if text is None:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            hit = FORBIDDEN.search(line)
            if hit:
                found.append(f"{path.relative_to(ROOT)}:{number}: {hit[0]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("module", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_has_one_job(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{lines} lines: it has two jobs"


def test_every_module_says_what_it_is_for() -> None:
    bare = [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not bare


# --- rooms: nothing further left imports anything further right ------------------------------------------------------

ROOMS = {
    "artifact": set(),
    "formats": set(),
    "rules": set(),
    "report": {"artifact"},
    "provenance": {"artifact", "rules", "report"},
    "scanners": {"artifact", "formats", "rules", "report"},
    "policy": {"artifact", "report"},
    "approvals": {"artifact", "report"},
    "gate": {"artifact", "report", "policy", "approvals"},
    "hooks": {
        "artifact",
        "formats",
        "rules",
        "report",
        "scanners",
        "provenance",
        "policy",
        "approvals",
        "gate",
        "history",
        "notebooks",
    },
}
SHARED = {"errors", "settings"}
"""Modules beside the rooms that any of them may use; `history` keeps the reports of a session for the faces,
`notebooks` knows which notebook runs here."""


def imported_rooms(path: Path) -> set[str]:
    """The parts of nbguard that a module imports while it runs; imports for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
    parts: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "nbguard" else [base]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("nbguard.")}
    return parts


@pytest.mark.parametrize("room", ROOMS)
def test_data_flows_one_way(room: str) -> None:
    allowed = ROOMS[room] | SHARED | {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports nbguard.{part}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for part in sorted(imported_rooms(path) - allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_rules_are_data() -> None:
    assert sorted(p.name for p in (PACKAGE / "rules").rglob("*.py")) == ["__init__.py"]
    for path in (PACKAGE / "rules").rglob("*.toml"):
        tomllib.loads(path.read_text(encoding="utf-8"))


# --- the budget of imports -------------------------------------------------------------------------------------------


def imported_by(code: str, *options: str) -> set[str]:
    script = code + f"\nimport sys, json\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    assert imported_by("import nbguard") == set()


def test_installing_is_light() -> None:
    assert imported_by("import nbguard; nbguard.install()") == set()


def test_load_ext_is_light() -> None:
    shell = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance()"
    assert imported_by(f"{shell}\ns.run_line_magic('load_ext', 'nbguard')") == set()


def test_the_scanning_worker_is_light() -> None:
    assert imported_by(f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport nbguard.scanners.worker", "-I") == set()


def test_the_command_line_is_light() -> None:
    assert imported_by("import nbguard.cli") == set()


# --- documents -------------------------------------------------------------------------------------------------------

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
    broken = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (document.parent / path).resolve() if path else document
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            broken.append(target)
    assert not broken


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.+)$", document.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_the_commands_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    named = {
        (document.name, word)
        for document in DOCUMENTS
        for word in re.findall(r"(?:^|[`$ ])make ([a-z]+)", "\n".join(code_of(document)), flags=re.M)
    }
    assert {word for name, word in named if name == "README.md"} >= {"demo", "test"}
    assert not {pair for pair in named if pair[1] not in targets}


def test_the_subcommands_in_the_documents_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nbguard.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    named = {
        word
        for document in DOCUMENTS
        for word in re.findall(r"(?:^|[`$ ])nbguard ([a-z]+)", "\n".join(code_of(document)), flags=re.M)
    }
    assert named >= {"scan", "approve"}
    assert not {word for word in named if not re.search(rf"\b{word}\b", done.stdout)}


def code_of(document: Path) -> list[str]:
    """What stands in code blocks and between backticks."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```.*?\n(.*?)```", text, flags=re.S)
    return [*blocks, *(f"`{code}" for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)))]


def test_every_promise_has_a_test_that_names_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## What it promises")[2].partition("\n## ")[0]
    promises = re.findall(r"^\d\. \*\*(.+?)\.\*\*", section, flags=re.M)
    assert len(promises) == 4
    tests = (ROOT / "tests" / "test_promises.py").read_text(encoding="utf-8").lower()
    assert not [promise for promise in promises if promise.lower() not in tests]


# --- packaging -------------------------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, str]:
    found = {}
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (only,) = requirement.specifier
            assert only.operator == "==", line
            found[re.sub(r"[-_.]+", "-", requirement.name).lower()] = only.version
    return found


def test_every_dependency_is_pinned_inside_what_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = pins("runtime.txt")
    for line in project["dependencies"]:
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(pinned[name]), line


def test_the_files_of_pins_agree_and_bring_no_gpu_libraries() -> None:
    files = ("torch.txt", "runtime.txt", "dev.txt")
    together: dict[str, str] = {}
    for name in files:
        for package, version in pins(name).items():
            assert together.setdefault(package, version) == version
            assert not package.startswith(("nvidia-", "triton", "cuda"))
    assert together["torch"] == "2.13.0"


def test_the_wheel_carries_rules_and_styles_and_no_tests(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source / "nbguard", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-qq",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "-w",
            tmp_path,
            source,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("nbguard-*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    data = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert {p.relative_to(ROOT).as_posix() for p in data} <= carried
    assert not [name for name in carried if not re.match(r"nbguard(/|-[\d.]+\.dist-info/)", name)]


@pytest.mark.parametrize("script", ["tools/setup.sh", "tools/test.sh", ".ci/run"])
def test_shell_scripts_parse_and_can_be_executed(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


def test_the_measurements_can_be_listed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {p.stem for p in (ROOT / "bench").glob("*.py") if "\ndef measure(" in p.read_text(encoding="utf-8")}
    assert len(names) >= 6
    assert not {name for name in names if name not in done.stdout}
