"""From a target to one report: folders, repositories, references, what is inert and what could not be reached."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import native_forge
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nbguard.artifact.sources import open_bytes, open_path
from nbguard.errors import TargetError
from nbguard.report.model import Report, Verdict
from nbguard.scanners import scan, scan_opened


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch marker",)


def model(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"w": torch.zeros(2)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def verdicts(report: Report) -> dict[str, tuple[str, bool]]:
    return {f.path: (f.verdict.word, f.inert) for f in report.files}


def test_a_folder_with_a_model_and_what_lies_beside_it(tmp_path: Path) -> None:
    folder = model(
        tmp_path / "m",
        README_dot_md="# Words",
        LICENSE="Words",
        picture_dot_png=b"\x89PNG\r\n\x1a\n\0\0",
        vocab_dot_txt="a\nb\n",
    )
    report = scan(str(folder))
    assert report.verdict is Verdict.SAFE
    assert {p for p, (_, inert) in verdicts(report).items() if inert} == {"README.md", "LICENSE", "picture.png"}
    assert report.summary == ("Loading this builds 1 tensor (8 bytes) and runs no code.",)
    assert report.artifact.kind == "directory"


def test_what_is_inert_does_not_change_the_artifact(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", README_dot_md="one")
    before = scan(str(folder))
    (folder / "README.md").write_text("two")
    assert scan(str(folder)).artifact.digest == before.artifact.digest
    (folder / "config.json").write_text('{"a": 1}')
    assert scan(str(folder)).artifact.digest != before.artifact.digest


def test_the_worst_file_that_a_loader_would_open_decides(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", extra_dot_bin=pickle.dumps(Payload()))
    report = scan(str(folder))
    assert report.verdict is Verdict.DANGER
    assert verdicts(report)["model.safetensors"] == ("safe", False)
    assert report.findings[0].file == "extra.bin"


def test_a_pickle_under_the_name_of_a_document_counts(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", README_dot_md=pickle.dumps(Payload()))
    assert scan(str(folder)).verdict is Verdict.DANGER


@pytest.mark.parametrize("files", [{}, {"README_dot_md": "x"}, {"a__b_dot_txt": "x"}, {"data_dot_csv": "1,2"}])
def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path, files: dict[str, str]) -> None:
    folder = model(tmp_path / "m", **files)
    (folder / "model.safetensors").unlink()
    with pytest.raises(TargetError, match="no model"):
        scan(str(folder))


@pytest.mark.parametrize("target", ["", "missing.pt", "./no/such", "/no/such", "a b", "org/", "a/b/c", "x\0y", "hf://"])
def test_targets_that_are_nothing_are_one_sentence(target: str) -> None:
    with pytest.raises(TargetError) as caught:
        scan(target)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_the_target_is_reported_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(1))
    monkeypatch.chdir(tmp_path)
    report = scan("./m.pkl")
    assert report.target == "./m.pkl"
    assert report.provenance["path"] == os.path.realpath(tmp_path / "m.pkl")
    document = json.loads(json.dumps(report.to_json()))
    assert document["verdict"] == "safe"
    assert document["files"][0]["sha256"]


# Custom code.


def test_referenced_code_is_listed_and_reviewed(tmp_path: Path) -> None:
    folder = model(
        tmp_path / "m",
        config_dot_json='{"auto_map": {"AutoModel": "modeling_x.X", "AutoTokenizer": ["tok.A", null]}}',
        modeling_x_dot_py="from .helper import y\nclass X: pass\n",
        helper_dot_py="y = 1\n",
        tok_dot_py="class A: pass\n",
        train_dot_py="print('unrelated')\n",
    )
    report = scan(str(folder))
    assert report.verdict is Verdict.REVIEW
    assert {c.path for c in report.contract.code} == {"modeling_x.py", "helper.py", "tok.py"}
    assert verdicts(report)["train.py"] == ("review", True)


def test_code_that_acts_at_import_and_is_reached_only_through_another(tmp_path: Path) -> None:
    folder = model(
        tmp_path / "m",
        config_dot_json='{"auto_map": {"AutoModel": "modeling_x.X"}}',
        modeling_x_dot_py="from .helper import y\nclass X: pass\n",
        helper_dot_py="import os\nos.system('touch marker')\n",
    )
    report = scan(str(folder))
    assert report.verdict is Verdict.DANGER
    assert verdicts(report)["helper.py"] == ("danger", False)
    assert "helper.py" in report.summary[0]


def test_code_that_acts_and_that_nothing_names_is_still_shown(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", train_dot_py="import os\nos.system('touch marker')\n")
    report = scan(str(folder))
    assert verdicts(report)["train.py"] == ("review", False)


def test_code_from_another_repository_is_unverifiable(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", config_dot_json='{"auto_map": {"AutoModel": "other/repo--modeling_y.Y"}}')
    report = scan(str(folder))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert report.findings[0].rule == "code.cross-repository"
    assert any("other/repo" in n.path for n in report.not_scanned)


def test_code_of_this_very_repository_by_its_full_name(tmp_path: Path) -> None:
    folder = model(
        tmp_path / "m",
        config_dot_json='{"auto_map": {"AutoModel": "org/name--modeling_y.Y"}}',
        modeling_y_dot_py="class Y: pass\n",
    )
    with open_path(folder, target="org/name") as opened:
        report = scan_opened(opened)
    assert report.verdict is Verdict.REVIEW
    assert [c.path for c in report.contract.code] == ["modeling_y.py"]


def test_references_do_not_matter_where_remote_code_is_refused(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", config_dot_json='{"auto_map": {"AutoModel": "other/repo--modeling_y.Y"}}')
    with open_path(folder) as opened:
        opened.provenance["remote_code"] = "refused"
        assert scan_opened(opened).verdict is Verdict.SAFE


@pytest.mark.parametrize("reference", ["../../etc/x.Y", "os; import x.Y", "a b.C", 7, "Nope"])
def test_odd_references_are_unverifiable(tmp_path: Path, reference: object) -> None:
    folder = model(tmp_path / "m", config_dot_json=json.dumps({"auto_map": {"AutoModel": reference}}))
    assert scan(str(folder)).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.T", None]}}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "evil.T"}}),
        ("config.json", {"custom_pipelines": {"x": {"impl": "evil.T"}}}),
        ("config.json", {"vision_config": {"auto_map": {"AutoConfig": "evil.T"}}}),
        ("modules.json", [{"idx": 0, "type": "evil.T"}]),
        ("model_index.json", {"_class_name": "P", "unet": ["evil", "T"]}),
    ],
)
def test_every_place_that_names_code(tmp_path: Path, name: str, document: object) -> None:
    folder = model(tmp_path / "m", evil_dot_py="import os\nos.system('touch marker')\n")
    (folder / name).write_text(json.dumps(document))
    assert scan(str(folder)).verdict is Verdict.DANGER


def test_a_broken_configuration_is_unverifiable(tmp_path: Path) -> None:
    assert scan(str(model(tmp_path / "m", config_dot_json='{"auto_map": '))).verdict is Verdict.UNVERIFIABLE


# What could not be reached, and what nobody can read.


def test_a_link_out_of_the_folder_is_unverifiable(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (tmp_path / "outside.bin").write_bytes(pickle.dumps(Payload()))
    (folder / "pytorch_model.bin").symlink_to("../outside.bin")
    report = scan(str(folder))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert any(n.path == "pytorch_model.bin" for n in report.not_scanned)
    assert any(f.rule == "source.unreachable" for f in report.findings)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"Rar!\x1a\x07\x00" + bytes(40), "rar"),
        (b"\xac\xed\x00\x05sr", "java-serialized"),
        (b"\x00\x01\x02\xff" * 50, "unknown"),
    ],
)
def test_formats_without_a_reader_are_unverifiable_and_say_so(tmp_path: Path, data: bytes, kind: str) -> None:
    (tmp_path / "model.any").write_bytes(data)
    report = scan(str(tmp_path / "model.any"))
    assert (report.files[0].format, report.verdict) == (kind, Verdict.UNVERIFIABLE)
    assert report.not_scanned


@pytest.mark.parametrize(
    "data",
    [native_forge.real_elf(), native_forge.real_exe(), native_forge.macho()],
    ids=["elf", "pe", "mach-o"],
)
def test_native_code_is_reviewed_with_its_digest(tmp_path: Path, data: bytes) -> None:
    folder = model(tmp_path / "m")
    (folder / "kernel.weights").write_bytes(data)
    report = scan(str(folder))
    assert report.verdict is Verdict.REVIEW
    assert [c.path for c in report.contract.native] == ["kernel.weights"]


def test_a_script_under_another_name_is_told(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", notes_dot_txt="#!/usr/bin/env python\nimport os\n")
    report = scan(str(folder))
    assert [f.rule for f in report.findings] == ["text.script"]
    assert report.verdict is Verdict.SAFE


def test_sentencepiece_vocabularies_are_data(tmp_path: Path) -> None:
    words = [b"\x0a" + bytes([len(word)]) + word + b"\x15\0\0\x80\xbf" for word in (b"hello", b"world")]
    pieces = [b"\x0a\x05<unk>\x15\0\0\0\0\x18\x02", *words]
    vocabulary = b"".join(b"\x0a" + bytes([len(piece)]) + piece for piece in pieces)
    folder = model(tmp_path / "m", tokenizer_dot_model=vocabulary)
    report = scan(str(folder))
    assert {f.path: f.format for f in report.files}["tokenizer.model"] == "sentencepiece"
    assert report.verdict is Verdict.SAFE


# Evidence, progress, contract.


def test_flagged_pickles_are_decompiled(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Payload()))
    report = scan(str(tmp_path / "m.pkl"))
    assert any("Decompiled" in f.evidence and "touch marker" in f.evidence for f in report.findings)
    torch.save({"x": Payload()}, tmp_path / "m.pt")
    assert any("Decompiled" in f.evidence for f in scan(str(tmp_path / "m.pt")).findings)


def test_what_cannot_be_decompiled_is_still_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbguard.scanners.evidence.MAX_PROGRAM", 1)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Payload()))
    report = scan(str(tmp_path / "m.pkl"))
    assert report.verdict is Verdict.DANGER
    assert not any("Decompiled" in f.evidence for f in report.findings)


def test_the_handles_stay_open_after_the_scan(tmp_path: Path) -> None:
    """Promise 1: what is loaded after the scan is what was scanned, whatever lies at the path by then."""
    (tmp_path / "m.pkl").write_bytes(pickle.dumps("scanned"))
    with open_path(tmp_path / "m.pkl") as opened:
        scan_opened(opened)
        (tmp_path / "other").write_bytes(pickle.dumps(Payload()))
        os.replace(tmp_path / "other", tmp_path / "m.pkl")
        assert pickle.loads(Path(opened.files[0].load_path()).read_bytes()) == "scanned"


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", x_dot_npy=b"")
    np.save(folder / "x.npy", np.zeros(1000))
    seen: list[tuple[float, str]] = []
    scan(str(folder), progress=lambda share, what: seen.append((share, what)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert {"config.json", "model.safetensors"} <= {what for _, what in seen}


def test_the_same_bytes_give_the_same_contract() -> None:
    data = pickle.dumps({"a": np.arange(4)})
    digests = set()
    for name in ("one", "two"):
        with open_bytes(data, name="x") as opened:
            opened.target = name
            report = scan_opened(opened)
            digests.add((report.contract.digest, report.artifact.digest))
    assert len(digests) == 1


def test_hostile_names_stay_bounded(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>" * 400
    data = b"\x80\x04\x8d" + len(name).to_bytes(8, "little") + name.encode() + b"\x8c\x01x\x93."
    (tmp_path / "m.pkl").write_bytes(data)
    report = scan(str(tmp_path / "m.pkl"))
    assert all(len(f.message) < 2000 and len(f.evidence) <= 2000 for f in report.findings)
    assert all(len(sentence) < 1000 for sentence in report.summary)
