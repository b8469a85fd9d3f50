"""Every load of a notebook before it runs: what can be named, one question, and what that holds for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from traitlets.config import Config

from nbguard import hooks
from nbguard.approvals import session
from nbguard.cell_loads import Reader
from nbguard.cli import main
from nbguard.commands import preflight
from nbguard.gate.answer import Answer
from nbguard.hooks import walk
from nbguard.notebooks import NotebookError, read, running
from nbguard.report.model import Report, Verdict


def notebook(place: Path, *cells: str | dict[str, Any], language: str = "python") -> Path:
    made = [
        c if isinstance(c, dict) else {"cell_type": "code", "source": c, "metadata": {}, "outputs": []} for c in cells
    ]
    book = {"cells": made, "metadata": {"language_info": {"name": language}}, "nbformat": 4, "nbformat_minor": 5}
    place.write_text(json.dumps(book), encoding="utf-8")
    return place


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    place = tmp_path / "work"
    (place / "models").mkdir(parents=True)
    (place / "models" / "a.pkl").write_bytes(pickle.dumps([1, 2]))
    (place / "models" / "b.pkl").write_bytes(pickle.dumps({"a": "b"}))
    (place / "danger.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "marker")))
    (place / "broken.pkl").write_bytes(pickle.dumps(list(range(1000)))[:100])
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def shell(folder: Path) -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "nbguard")
    yield made
    made.run_line_magic("unload_ext", "nbguard")
    InteractiveShell.clear_instance()
    session.release()


class Person:
    def __init__(self, choice: str = "once") -> None:
        self.choice = choice
        self.asked: list[Report] = []

    def __call__(self, report: Report, decision: Any, request: Any) -> Answer:
        self.asked.append(report)
        return Answer(self.choice, "ada", "", "widget")  # type: ignore[arg-type]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    someone = Person()
    for module in (preflight, walk):
        monkeypatch.setattr(module, "ask", someone)
    monkeypatch.setattr(preflight, "somebody_there", lambda: True)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    monkeypatch.setattr(walk, "tell", lambda *_: None)
    return someone


LOADS = (
    "import pickle\nfrom pathlib import Path\nROOT = Path('models')\nNAMES = ['a.pkl', 'b.pkl']",
    "%precision 3\nfirst = pickle.load(open(ROOT / NAMES[0], 'rb'))",
    "def get(path):\n    return pickle.load(open(path, 'rb'))",
    "with open(f'{ROOT}/b.pkl', 'rb') as file:\n    second = pickle.load(file)",
)


# what a notebook names


def test_names_are_known_from_cell_to_cell(folder: Path) -> None:
    flight = preflight.plan(read(str(notebook(folder / "n.ipynb", *LOADS))))
    assert [(p.cell, p.load.loader, p.load.target) for p in flight.places] == [
        (2, "pickle.load", "models/a.pkl"),
        (4, "pickle.load", "models/b.pkl"),
    ]
    assert [(one.place, one.loader) for one in flight.later] == [("cell 3, line 2", "pickle.load")]
    assert "open(path, 'rb') is not known" in flight.later[0].why


@pytest.mark.parametrize(
    ("source", "loader", "target"),
    [
        ("import onnxruntime as ort\nort.InferenceSession('net.onnx')", "onnxruntime.InferenceSession", "net.onnx"),
        ("import xgboost as xgb\nxgb.Booster(model_file='m.json')", "xgboost.Booster", "m.json"),
        ("model = make()\nmodel.load_model('m.ubj')", "load_model", "m.ubj"),
        ("from safetensors.torch import load_file\nload_file('a.safetensors')", "safetensors.torch.load_file",
         "a.safetensors"),
        ("import keras\nkeras.models.load_model('k.keras')", "keras.saving.load_model", "k.keras"),
        ("import onnx\nonnx.load('m.onnx')", "onnx.load", "m.onnx"),
        ("PeftModel.from_pretrained(model, 'org/lora')", "PeftModel.from_pretrained", "org/lora"),
        ("C = {'m': 'org/name'}\nAutoModel.from_pretrained(C['m'])", "AutoModel.from_pretrained", "org/name"),
        ("R = ('a', 'b')\n[torch.load(f'{r}.pt') for r in R]", "torch.load", "b.pt"),
        ("from sentence_transformers import SentenceTransformer\nSentenceTransformer('org/st')",
         "sentence_transformers.SentenceTransformer", "org/st"),
        ("import timm\ntimm.create_model('hf-hub:org/vit', pretrained=True)", "timm.create_model", "org/vit"),
        ("import llama_cpp\nllama_cpp.Llama(model_path='m.gguf')", "llama_cpp.Llama", "m.gguf"),
        ("import peft\npeft.load_peft_weights('org/lora')", "peft.load_peft_weights", "org/lora"),
    ],
)  # fmt: skip
def test_every_loader_of_the_table_is_known_by_its_name(source: str, loader: str, target: str) -> None:
    assert (loader, target) in [(load.loader, load.target) for load in Reader().loads(source)]


@pytest.mark.parametrize(
    "source",
    [
        "mlflow_like.unrelated('x')",
        "import shutil\nshutil.load_model('x')",
        "x.load('y')",
        "file.read(5)",
        "s.restore('x')",
    ],
)
def test_what_only_sounds_like_a_loader_is_none(source: str) -> None:
    assert Reader().loads(source) == []


def test_cells_in_other_languages_are_passed_over(folder: Path) -> None:
    cells = (
        "%%bash\npickle.load(open('models/a.pkl', 'rb'))",
        {"cell_type": "markdown", "source": "pickle.load(open('a'))"},
        "%%time\n\nimport pickle\npickle.load(open('models/a.pkl', 'rb'))",
        "this is no python",
    )
    flight = preflight.plan(read(str(notebook(folder / "n.ipynb", *cells))))
    assert [str(p) for p in flight.places] == ["cell 3, line 4"]
    assert [one.place for one in flight.later] == ["cell 4"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"cells": 1}', "{" * 100_000, '{"cells": [1, {"cell_type": "code"}]}']
)
def test_what_is_no_notebook_is_a_sentence_or_empty(tmp_path: Path, text: str) -> None:
    place = tmp_path / "n.ipynb"
    place.write_text(text)
    if '"cells": [' in text:
        assert read(str(place)).cells == ()
    else:
        with pytest.raises(NotebookError, match="is no notebook"):
            read(str(place))


def test_which_notebook_runs(folder: Path) -> None:
    book = str(notebook(folder / "n.ipynb"))
    assert running({}, {"JPY_SESSION_NAME": book}) == book
    assert running({"__vsc_ipynb_file__": book}, {}) == book
    for namespace, env in (({}, {}), ({"__vsc_ipynb_file__": object()}, {"JPY_SESSION_NAME": "/nowhere/x.ipynb"})):
        with pytest.raises(NotebookError, match="cannot be told here"):
            running(namespace, env)


# in a kernel


def test_one_question_for_the_whole_notebook_and_none_in_its_run(
    shell: InteractiveShell, folder: Path, person: Person, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook(folder / "n.ipynb", *LOADS)))
    shell.run_cell("%safemodel preflight").raise_error()
    out = capsys.readouterr().out
    assert len(person.asked) == 1
    assert person.asked[0].target == "2 loads of this notebook"
    assert "cell 2, line 2: pickle.load models/a.pkl: safe, is asked about now" in out
    assert "Asked about when it happens:\n  cell 3, line 2" in out
    for cell in LOADS:
        shell.run_cell(cell).raise_error()
    assert shell.user_ns["first"] == [1, 2]
    assert shell.user_ns["second"] == {"a": "b"}
    assert len(person.asked) == 1
    (folder / "models" / "a.pkl").write_bytes(pickle.dumps([3]))
    shell.run_cell(LOADS[1]).raise_error()
    assert len(person.asked) == 2, "other content is asked about"


def test_a_refusal_accepts_nothing(shell: InteractiveShell, folder: Path, person: Person) -> None:
    book = notebook(folder / "n.ipynb", *LOADS)
    person.choice = "refuse"
    with pytest.raises(Exception, match="Refused"):
        shell.run_cell(f"%safemodel preflight {book}").raise_error()
    person.choice = "once"
    for cell in LOADS:
        shell.run_cell(cell).raise_error()
    assert len(person.asked) == 3


def test_danger_and_the_unreadable_keep_their_forms(
    shell: InteractiveShell, folder: Path, person: Person, capsys: Any, tmp_path: Path
) -> None:
    book = notebook(
        folder / "n.ipynb",
        "import pickle\npickle.load(open('danger.pkl', 'rb'))",
        "pickle.load(open('broken.pkl', 'rb'))\npickle.load(open('missing.pkl', 'rb'))",
    )
    person.choice = "refuse"
    with pytest.raises(Exception, match="Refused"):
        shell.run_cell(f"%safemodel preflight {book}").raise_error()
    out = capsys.readouterr().out
    assert [r.verdict for r in person.asked] == [Verdict.DANGER]
    assert "broken.pkl: unverifiable, will be refused" in out
    assert "There is no file" in out
    assert not (tmp_path / "marker").exists()


def test_a_new_preflight_replaces_what_the_last_one_accepted(
    shell: InteractiveShell, folder: Path, person: Person
) -> None:
    first = notebook(folder / "1.ipynb", "import pickle\npickle.load(open('models/a.pkl', 'rb'))")
    second = notebook(folder / "2.ipynb", "import pickle\npickle.load(open('models/b.pkl', 'rb'))")
    shell.run_cell(f"%safemodel preflight {first}").raise_error()
    shell.run_cell(f"%safemodel preflight {second}").raise_error()
    shell.run_cell("import pickle\npickle.load(open('models/a.pkl', 'rb'))").raise_error()
    assert len(person.asked) == 3


def test_without_a_name_for_the_notebook_it_says_what_to_type(
    shell: InteractiveShell, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shell.run_cell("%safemodel preflight")
    assert "%safemodel preflight train.ipynb" in capsys.readouterr().err


# in a build


def test_the_command_line_has_the_exit_codes_of_scan(folder: Path, capsys: Any, tmp_path: Path) -> None:
    good = notebook(folder / "good.ipynb", *LOADS)
    assert main(["preflight", str(good)]) == 0
    assert "cell 4, line 2: pickle.load models/b.pkl: safe" in capsys.readouterr().out
    bad = notebook(folder / "bad.ipynb", "import pickle\npickle.load(open('danger.pkl', 'rb'))")
    assert main(["preflight", str(bad)]) == 1
    odd = notebook(folder / "odd.ipynb", "import pickle\npickle.load(open('broken.pkl', 'rb'))")
    assert main(["preflight", str(odd)]) == 2
    assert main(["preflight", str(folder / "none.ipynb")]) == 2
    assert not (tmp_path / "marker").exists()


def test_json_holds_reports_places_and_what_is_left(folder: Path, capsys: Any, monkeypatch: Any) -> None:
    book = notebook(folder / "n.ipynb", *LOADS)
    monkeypatch.chdir("/")
    assert main(["preflight", str(book), "--format", "json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert len(out["reports"]) == 2
    assert out["notebook"]["loads"][0]["place"] == "cell 2, line 2"
    assert out["notebook"]["later"][0]["place"] == "cell 3, line 2"


def test_hostile_text_in_a_notebook_drives_no_terminal(folder: Path, capsys: Any) -> None:
    book = notebook(
        folder / "n.ipynb", "import pickle\npickle.load(open('\\x1b[31m\\u202e' + x, 'rb'))\npickle.load(\x1b)"
    )
    main(["preflight", str(book)])
    book = notebook(folder / "n.ipynb", "import pickle\npickle.load(open('\x1b[2J\u202e.pkl', 'rb'))")
    main(["preflight", str(book)])
    out = capsys.readouterr()
    assert "\x1b" not in out.out + out.err
    assert "\u202e" not in out.out + out.err


@pytest.mark.slow
def test_what_was_accepted_is_what_each_kind_of_loader_opens(
    shell: InteractiveShell, folder: Path, person: Person, hub: Hub
) -> None:
    """Companion files, sealed copies, a repository of which a load opens a part: none is asked about again."""
    import numpy
    import onnx
    import torch
    import xgboost
    from safetensors.torch import save_file

    hooks.uninstall()  # what a guarded kernel writes is its own work, and asks nothing
    torch.save({"w": torch.ones(3)}, folder / "state.pt")
    torch.save({"big": torch.arange(3_000_000)}, folder / "big.pt")
    save_file({"w": torch.ones(3)}, folder / "w.safetensors")
    values = numpy.arange(400, dtype=numpy.float32)
    tensor = onnx.numpy_helper.from_array(values, "t")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    onnx.save_model(onnx.helper.make_model(graph), folder / "net.onnx", save_as_external_data=True, size_threshold=0,
                    location="net.data")  # fmt: skip
    matrix = xgboost.DMatrix(numpy.ones((4, 2)), label=numpy.ones(4))
    xgboost.train({"max_depth": 1}, matrix, num_boost_round=1).save_model(folder / "trees.json")
    hooks.install()
    repo = "demo/of-a-notebook"
    hub.store.push(repo, files_of("demo/tiny-bert"))
    cells = (
        "import torch, onnx, xgboost\nfrom safetensors.torch import load_file\nfrom transformers import AutoModel",
        "state = torch.load('state.pt', weights_only=False)\nbig = torch.load('big.pt')",
        "w = load_file('w.safetensors')",
        "net = onnx.load('net.onnx')",
        "trees = xgboost.Booster(model_file='trees.json')",
        f"REPO = {repo!r}\nmodel = AutoModel.from_pretrained(REPO)",
    )
    book = notebook(folder / "n.ipynb", *cells)
    shell.run_cell(f"%safemodel preflight {book}").raise_error()
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert person.asked[0].target == "6 loads of this notebook"
    for cell in cells:
        shell.run_cell(cell).raise_error()
    assert [r.target for r in person.asked[1:]] == []
    assert shell.user_ns["net"].graph.initializer[0].raw_data == values.tobytes()
