"""HyperPyYAML in the real library; SpeechBrain and NeMo in stand-ins with the libraries' own signatures."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from nbguard.errors import LoadBlocked

STANDINS = Path(__file__).parents[1] / "support" / "standins"
HONEST = """
size: 3
modules:
    encoder: !new:torch.nn.Linear
        in_features: 2
        out_features: !ref <size>
"""
CUSTOM = """
import torch
{act}
class Net(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        {later}
        self.size = size
class CustomInterface:
    def __init__(self, modules, hparams):
        self.modules = modules
"""


@pytest.fixture(autouse=True)
def _guarded(guarded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(STANDINS))
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in list(sys.modules):
        if name.partition(".")[0] in ("speechbrain", "nemo", "custom"):
            del sys.modules[name]


# --- HyperPyYAML -----------------------------------------------------------------------------------------------------


def test_an_honest_configuration_is_shown_and_made(person, tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(HONEST)
    with open("hyperparams.yaml") as file:
        found = load_hyperpyyaml(file, {"size": 5})
    assert found["modules"]["encoder"].weight.shape == (5, 2)
    assert person.verdicts == ["review"]
    assert load_hyperpyyaml(HONEST)["modules"]["encoder"].weight.shape == (3, 2)


@pytest.mark.parametrize(
    "text",
    [
        "a: !apply:os.system [touch MARKER]",
        "a: !new:subprocess.Popen [[touch, MARKER]]",
        "a: !!python/object/apply:os.system [touch MARKER]",
        "%TAG !e! tag:yaml.org,2002:python/\n---\na: !e!object/apply:os.system [touch MARKER]",
        "a: !apply:torch.nn.init.os.system [touch MARKER]",
        "a: !applyref:os.system\n  - touch MARKER",
        "a: !<tag:yaml.org,2002:python/object/apply:os.system> [touch MARKER]",
    ],
)
def test_hostile_configurations_are_danger_and_refused(person, marker, text):
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        load_hyperpyyaml(text.replace("MARKER", str(marker)))
    assert person.verdicts == ["danger"]
    assert not marker.exists()


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!apply:os.system", "!new:os.system", "!applyref:os.system"]
)
def test_with_a_blind_scanner_no_name_is_resolved(person, fooled, marker, tag):
    with pytest.raises(Exception):  # noqa: B017, PT011 - the wall's, or the safe reader's
        load_hyperpyyaml(f"a: {tag} [touch {marker}]")
    assert not marker.exists()


@pytest.mark.parametrize(
    "text", ["a: !include:other.yaml", "a: &x [*x]", "a: !strange:thing 1", "a: 1\u2028b: 2", "a: [", "- 1\n--- \n- 2"]
)
def test_what_cannot_be_told_is_not_loaded(person, tmp_path, text):
    (tmp_path / "other.yaml").write_text("b: !apply:os.getcwd []")
    with pytest.raises(Exception):  # noqa: B017, PT011 - a refusal, or HyperPyYAML's own error
        load_hyperpyyaml(text + "\nc: !new:torch.nn.Identity" if text[0] != "-" else text)


# --- SpeechBrain -----------------------------------------------------------------------------------------------------


def speech(root: Path, hparams: str = HONEST, custom: str = "", weights: object = None) -> Path:
    root.mkdir()
    text = hparams
    if weights is not None:
        torch.save(weights, root / "encoder.ckpt")
        text += "checkpoints:\n    encoder: encoder.ckpt\n"
    (root / "hyperparams.yaml").write_text(text)
    if custom:
        (root / "custom.py").write_text(custom)
    return root


def pretrained():
    from speechbrain.inference.interfaces import Pretrained

    return Pretrained


def test_an_honest_speech_model_is_one_question(person, tmp_path):
    weights = torch.nn.Linear(2, 3).state_dict()
    found = pretrained().from_hparams(str(speech(tmp_path / "m", weights=weights)), savedir="saved")
    assert torch.equal(found.modules["encoder"].weight, weights["weight"])
    assert person.verdicts == ["review"]
    assert sorted(f.path for f in person.reports[0].files) == ["encoder.ckpt", "hyperparams.yaml"]


def test_hostile_speech_weights_and_configurations(person, tmp_path, marker):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    person.choice = "refuse"
    acting = f"a: !apply:os.system [touch {marker}]\n{HONEST}"
    for root in (speech(tmp_path / "w", weights=Evil()), speech(tmp_path / "h", acting)):
        with pytest.raises(LoadBlocked):
            pretrained().from_hparams(str(root))
    assert person.verdicts == ["danger", "danger"]
    assert not marker.exists()


def test_code_beside_a_speech_model_is_shown_and_runs_as_scanned(person, tmp_path):
    hparams = "modules:\n    net: !new:custom.Net\n        size: 4\n"
    root = speech(tmp_path / "m", hparams, CUSTOM.format(act="", later=""))
    for savedir in (None, "saved"):
        assert pretrained().from_hparams(str(root), savedir=savedir).modules["net"].size == 4
        sys.modules.pop("custom", None)
    from speechbrain.inference.interfaces import foreign_class

    assert foreign_class(str(root)).modules["net"].size == 4
    assert person.reports[0].verdict.word == "review"
    assert [c.path for c in person.reports[0].contract.code] == ["custom.py"]


@pytest.mark.parametrize("where", ["act", "later"])
@pytest.mark.parametrize("savedir", [None, "saved"])
def test_code_that_acts_is_stopped_even_where_it_was_accepted(person, tmp_path, marker, where, savedir):
    parts = {"act": "", "later": "", where: f"open({str(marker)!r}, 'w').close()"}
    root = speech(tmp_path / "m", "modules:\n    net: !new:custom.Net\n        size: 4\n", CUSTOM.format(**parts))
    with pytest.raises(LoadBlocked):
        pretrained().from_hparams(str(root), savedir=savedir)
    assert not marker.exists()


def test_code_that_is_exchanged_after_the_answer_does_not_run(person, tmp_path, marker, monkeypatch):
    from nbguard.hooks import walk

    root = speech(
        tmp_path / "m", "modules:\n    net: !new:custom.Net\n        size: 4\n", CUSTOM.format(act="", later="")
    )
    accepting = walk.ask

    def exchanged(report, decision, request):
        (root / "custom.py").write_text(CUSTOM.format(act=f"open({str(marker)!r}, 'w').close()", later=""))
        return accepting(report, decision, request)

    monkeypatch.setattr(walk, "ask", exchanged)
    with pytest.raises(LoadBlocked):
        pretrained().from_hparams(str(root))
    assert not marker.exists()


# --- NeMo ------------------------------------------------------------------------------------------------------------


def nemo(path: Path, target: str = "torch.nn.Linear", weights: object = None, mode: str = "w") -> Path:
    config = f"encoder:\n  _target_: {target}\n  args: [2, 3]\n".encode()
    stored = io.BytesIO()
    state = {f"encoder.{k}": v for k, v in torch.nn.Linear(2, 3).state_dict().items()}
    torch.save(state if weights is None else weights, stored)
    with tarfile.open(path, mode) as archive:
        for name, data in (("model_config.yaml", config), ("model_weights.ckpt", stored.getvalue())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def model_class():
    from nemo.core.classes.modelPT import ModelPT

    return ModelPT


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_honest_archive_is_one_question(person, tmp_path, mode):
    found = model_class().restore_from(str(nemo(tmp_path / "m.nemo", mode=mode)))
    assert found.encoder.weight.shape == (3, 2)
    assert person.verdicts == ["review"]


def test_hostile_archives(person, tmp_path, marker):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    person.choice = "refuse"
    for path in (nemo(tmp_path / "w.nemo", weights=Evil()), nemo(tmp_path / "t.nemo", "os.system")):
        with pytest.raises(LoadBlocked):
            model_class().restore_from(str(path))
    assert person.verdicts == ["danger", "danger"]
    assert not marker.exists()


def test_an_archive_of_the_hub(person, hub, tmp_path):
    path = nemo(tmp_path / "tiny-asr.nemo")
    hub.store.push("demo/tiny-asr", {"tiny-asr.nemo": path.read_bytes()})
    assert model_class().from_pretrained("demo/tiny-asr").encoder.weight.shape == (3, 2)
    assert len(person.reports) == 1
