"""Python packages: what installing one would run and where it would put what, proven with pip and Python itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_set import MARKER, Sample, samples
from sample_set.python_packages import build_source, egg, install, source, wheel

from nbguard.artifact.sources import open_bytes
from nbguard.report.model import Report, Verdict
from nbguard.scanners import scan_opened
from nbguard.scanners.tables import table

BUNDLED = Path(__import__("ensurepip").__file__).parent / "_bundled"


def look(data: bytes) -> Report:
    with open_bytes(data) as opened:
        return scan_opened(opened)


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def sample(name: str) -> Sample:
    return next(s for s in samples() if s.name == name)


def in_a_process(load: str, place: Path) -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\nfrom sample_set.python_packages import {load}\n"
    code += f"from pathlib import Path\n{load}(Path({str(place)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=place.parent, timeout=120, capture_output=True, check=False)


@pytest.mark.parametrize(("name", "load"), [("wheel/pth", install), ("sdist/shell", build_source)])
def test_the_harm_is_real(name: str, load: object, tmp_path: Path) -> None:
    if load is install and not __import__("importlib.util").util.find_spec("pip"):
        pytest.skip("needs pip")
    place = sample(name).build(tmp_path)
    in_a_process(load.__name__, place)  # type: ignore[attr-defined]
    assert list(tmp_path.rglob(MARKER))


def test_what_a_module_does_when_it_is_started_is_not_what_importing_it_does() -> None:
    source = b"import os\nif __name__ == '__main__':\n    os.system('true')\n"
    report = look(wheel({"demo_model/__init__.py": b"", "demo_model/__main__.py": source}))
    assert report.verdict is Verdict.REVIEW, report.findings
    assert "package.acts-at-import" not in rules(report)


def test_the_owner_of_a_name_may_use_it() -> None:
    assert look(wheel({"torch/__init__.py": b"x = 1\n"}, name="torch")).verdict is Verdict.REVIEW
    scripts = {"pip/__init__.py": b"", "pip-1.0.dist-info/entry_points.txt": b"[console_scripts]\npip3 = pip:main\n"}
    assert look(wheel(scripts, name="pip")).verdict is Verdict.REVIEW


def test_part_of_another_package_in_a_namespace_is_not_written_over() -> None:
    report = look(wheel({"torch/extras_of_mine/a.py": b"x = 1\n"}))
    assert "package.shadows-module" not in rules(report)


def test_a_wheel_without_its_list_is_unverifiable() -> None:
    data = wheel({"demo_model/__init__.py": b""})
    report = look(data.replace(b"dist-info/RECORD", b"dist-info/RECORX"))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "package.record" in rules(report)


def test_a_list_that_names_other_files_is_dangerous() -> None:
    info = "demo_model-1.0.dist-info"
    data = wheel({"demo_model/__init__.py": b"", f"{info}/x": b""})
    report = look(data)
    assert report.verdict is Verdict.REVIEW
    from nbguard.formats.view import BytesView
    from nbguard.scanners.package_record import Record

    told = []
    record = Record()
    record.saw(f"{info}/RECORD", BytesView(b"../../bin/python,,\n"), f"{info}/")
    record.judge(lambda rule, severity, where, message, **more: told.append((rule, more["verdict"])))
    assert ("package.record", Verdict.DANGER) in told


@pytest.mark.parametrize("place", sorted(BUNDLED.glob("*.whl")), ids=lambda p: p.name.split("-")[0])
def test_the_wheels_that_python_brings_are_no_danger(place: Path) -> None:
    report = look(place.read_bytes())
    assert report.files[0].format == "wheel"
    assert report.verdict is Verdict.REVIEW, report.findings
    assert len(report.findings) < 40


def test_every_module_of_the_table_that_is_installed_belongs_to_one_of_its_owners() -> None:
    import re
    from importlib.metadata import packages_distributions

    by_module = packages_distributions()
    for module, owners in table("packages")["modules"].items():
        for distribution in by_module.get(module, []):
            assert re.sub(r"[-_.]+", "-", distribution).lower() in owners, (module, distribution)


def test_scanning_a_package_runs_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_bytes(sample("wheel/shell").build(tmp_path).read_bytes()) as opened:
        scan_opened(opened)
    assert not os.path.exists(MARKER)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"\xef\xbb\xbfimport os; os.system('true')\n", Verdict.DANGER),
        (b"import a\x0cimport os; os.system('true')\n", Verdict.DANGER),
        (b"import os; exec('x = 1')\n", Verdict.DANGER),
        (b"import a\n" * 1 + b"x%d\n" * 1, Verdict.REVIEW),
        (b"".join(b"import a%d\n" % n for n in range(1000)), Verdict.DANGER),
        (b"../../elsewhere\n", Verdict.DANGER),
        (b"# a comment\n\n", Verdict.REVIEW),
    ],
)
def test_lines_that_python_runs_at_its_start(text: bytes, verdict: Verdict) -> None:
    report = look(wheel({"demo_model/__init__.py": b"", "demo.pth": text}))
    assert report.verdict is verdict, report.findings


def test_the_last_of_many_commands_is_looked_at_too() -> None:
    lines = [f"demo-{n} = demo_model:main" for n in range(3000)]
    text = "[console_scripts]\n" + "\n".join([*lines, "sudo = demo_model:main", ""])
    report = look(wheel({"demo_model/__init__.py": b"", "demo_model-1.0.dist-info/entry_points.txt": text.encode()}))
    assert report.verdict is Verdict.DANGER


def test_an_egg_is_called_what_its_description_says() -> None:
    report = look(egg({"numpy/__init__.py": b"x = 1\n"}))
    assert "package.shadows-module" in rules(report)


def test_a_wheel_of_two_descriptions_is_unverifiable() -> None:
    report = look(wheel({"torch/__init__.py": b"", "torch-9.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n"}))
    assert report.verdict >= Verdict.UNVERIFIABLE
    assert "package.two-names" in rules(report)


def test_code_that_is_decoded_while_a_package_is_built_is_dangerous() -> None:
    setup = "import base64\nfrom setuptools import setup\nexec(base64.b64decode('eD0x'))\nsetup()\n"
    report = look(source(setup))
    assert report.verdict is Verdict.DANGER
    assert "package.hidden-code" in rules(report)
