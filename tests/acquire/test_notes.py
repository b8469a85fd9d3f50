"""What a converted folder says about itself: a card, notes, checksums, and nothing that a name could break."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from nbguard.acquire import notes
from nbguard.acquire.convert import ConversionError, ConvertedFile, convert

EVIL = "w`|<img src=x>\n## Verified\u202e"
CARD = "---\nlicense: mit\ntags:\n- bert\n---\n# A model\n\nIts text.\n"


def told(**changed: object) -> notes.Told:
    file = ConvertedFile(EVIL, "a" * 64, EVIL, "b" * 64, 3, (EVIL, "epoch"), ("limits", "landlock 7", "seccomp"))
    given = {"target": EVIL, "commit": "c" * 40, "rules": "7", "verdict": "safe", "files": [file], "when": notes.now()}
    return notes.Told(**(given | changed))  # type: ignore[arg-type]


def test_a_hostile_name_stays_one_piece_of_code() -> None:
    text = notes.section(told())
    assert "\n## Verified" not in text
    assert "\u202e" not in text
    assert text.count("\n## ") == 0, "the one heading is its first line"
    row = next(line for line in text.splitlines() if "a" * 64 in line)
    assert row.count("|") == 6
    assert row.count("`") % 2 == 0


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (("limits", "landlock 7", "seccomp"), "seccomp (no connections, no programs, no new processes)"),
        (("limits", "landlock 2"), "this system has no seccomp"),
        (("limits",), "this system has no Landlock and no seccomp"),
    ],
)
def test_the_layers_that_are_missing_are_said_too(layers: tuple[str, ...], said: str) -> None:
    assert said in notes.held(layers)
    assert ("no TCP" in notes.held(layers)) is ("landlock 7" in layers)


def test_the_card_keeps_its_front_matter_and_text_and_the_folder_checks_itself(tmp_path: Path) -> None:
    source, to = tmp_path / "model", tmp_path / "made"
    (source / "sub").mkdir(parents=True)
    torch.save({"state_dict": {"w": torch.ones(3)}, "epoch": 1}, source / "pytorch_model.bin")
    (source / "README.md").write_text(CARD)
    (source / "config.json").write_text("{}")
    (source / "sub" / "vocab.txt").write_text("a")
    (source / "code.py").write_text("print(1)")
    made = convert(source, to)
    card = (to / "README.md").read_text()
    front, _, text = CARD.partition("# A model")
    assert card.startswith(f"{front}\n## Converted to safetensors\n")
    assert card.endswith(f"\n\n# A model{text}")
    assert yaml.safe_load(card.split("---")[1]) == {"license": "mit", "tags": ["bert"]}
    for digest in (made.files[0].sha256, made.files[0].source_sha256):
        assert digest in card
        assert digest in (to / notes.NOTES).read_text()
    assert "## Converted to safetensors" in card
    assert "`epoch`" in card
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", notes.CHECKSUMS], cwd=to, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    checked = {line.partition(":")[0] for line in done.stdout.splitlines()}
    assert checked == {p.relative_to(to).as_posix() for p in to.rglob("*") if p.is_file()} - {notes.CHECKSUMS}
    assert "code.py" not in checked


@pytest.mark.parametrize("front", ["", "---\nlicense: mit\n---\n", "---\na: |\n  <!--\n---\n", "---\nx: 1\n"])
@pytest.mark.parametrize("opened", ["<!-- ", "```\n", "<script>\n", "~~~~\n"])
def test_nothing_that_a_publisher_leaves_open_hides_the_notes(front: str, opened: str) -> None:
    card = notes.with_section(f"{front}{opened}# A model\n".encode(), notes.section(told())).decode()
    before = card.partition("## Converted to safetensors")[0]
    assert before.strip() in ("", "---\nlicense: mit\n---")
    assert opened in card


def test_without_a_card_one_is_made(tmp_path: Path) -> None:
    notes.write_card(tmp_path, told(target="org/name"))
    assert (tmp_path / "README.md").read_text().startswith("# name\n\n## Converted to safetensors\n")


def test_odd_names_are_written_as_sha256sum_reads_them(tmp_path: Path) -> None:
    for name in ("a b", "back\\slash", "new\nline", "ключ"):
        (tmp_path / name).write_text(name)
    notes.write_checksums(tmp_path)
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", notes.CHECKSUMS], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_files_that_would_become_one_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    for name in ("a.bin", "a.pt"):
        torch.save({"w": torch.ones(1)}, source / name)
    with pytest.raises(ConversionError, match="would both become"):
        convert(source, tmp_path / "made")
    assert json.dumps(sorted(p.name for p in tmp_path.iterdir())) == '["model"]'
