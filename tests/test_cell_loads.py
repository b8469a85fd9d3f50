"""The loads that a cell can name: from its syntax tree, nothing is run."""

from __future__ import annotations

import pickle
import textwrap
from pathlib import Path

import pytest

from nbguard.cell_loads import MAX_LOADS, loads_in


def named(cell: str, **namespace: object) -> list[tuple[str, str]]:
    return [(load.loader, load.target) for load in loads_in(textwrap.dedent(cell), namespace)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import torch\ntorch.load('a.pt')", ("torch.load", "a.pt")),
        ("import torch\ntorch.load(f='a.pt', weights_only=False)", ("torch.load", "a.pt")),
        ("from torch import load as get\nget('a.pt')", ("torch.load", "a.pt")),
        ("import torch.jit\ntorch.jit.load('a.pt')", ("torch.jit.load", "a.pt")),
        ("import pickle\npickle.load(open('a.pkl', 'rb'))", ("pickle.load", "a.pkl")),
        ("import pickle as p\nwith open('a.pkl', 'rb') as f:\n    p.load(f)", ("pickle.load", "a.pkl")),
        ("import pickle\nf = open('a.pkl', 'rb')\npickle.Unpickler(f).load()", ("pickle.Unpickler", "a.pkl")),
        ("import pickle, gzip\npickle.load(gzip.open('a.gz'))", ("pickle.load", "a.gz")),
        ("import pickle\nfrom pathlib import Path\npickle.load(Path('d', 'a').open('rb'))", ("pickle.load", "d/a")),
        ("import joblib\njoblib.load('a.joblib')", ("joblib.load", "a.joblib")),
        ("import numpy as np\nnp.load('a.npy', allow_pickle=True)", ("numpy.load", "a.npy")),
        ("np.load('a.npy')", ("numpy.load", "a.npy")),
        ("pd.read_pickle('a.pkl')", ("pandas.read_pickle", "a.pkl")),
        ("AutoModel.from_pretrained('org/name')", ("AutoModel.from_pretrained", "org/name")),
        ("transformers.AutoModel.from_pretrained('org/name')", ("AutoModel.from_pretrained", "org/name")),
        (
            "AutoModel.from_pretrained(pretrained_model_name_or_path='org/name')",
            ("AutoModel.from_pretrained", "org/name"),
        ),
        ("from transformers import pipeline\npipeline('t', 'org/name')", ("pipeline", "org/name")),
        ("pipeline(model='org/name')", ("pipeline", "org/name")),
        ("import torch\np = 'a.pt'\ntorch.load(p)", ("torch.load", "a.pt")),
        ("import torch\np: str = 'a.pt'\ntorch.load(p)", ("torch.load", "a.pt")),
        ("import torch\nd = 'x'\ntorch.load(f'{d}/a.pt')", ("torch.load", "x/a.pt")),
        ("import torch\nfrom pathlib import Path\ntorch.load(Path('x') / 'a.pt')", ("torch.load", "x/a.pt")),
        ("import torch, os\ntorch.load(os.path.join('x', 'a.pt'))", ("torch.load", "x/a.pt")),
        ("import torch\ntorch.load('a' + '.pt')", ("torch.load", "a.pt")),
        ("import torch\ndef f():\n    return torch.load('a.pt')", ("torch.load", "a.pt")),
        ("%matplotlib inline\nimport torch\n!ls\nm = torch.load('a.pt')", ("torch.load", "a.pt")),
        ("import torch\nm = await thing(torch.load('a.pt'))", ("torch.load", "a.pt")),
    ],
)
def test_a_load_is_named(cell, expected):
    assert named(cell) == [expected]


def test_names_of_the_notebook_count():
    assert named("pickle.load(open(where, 'rb'))", pickle=pickle, where="a.pkl") == [("pickle.load", "a.pkl")]
    assert named("joblib.load(where)", where=Path("d/a.joblib")) == [("joblib.load", "d/a.joblib")]


def test_the_newest_value_before_the_load_counts():
    cell = "import torch\np = 'a.pt'\ntorch.load(p)\np = 'b.pt'\ntorch.load(p)"
    assert named(cell, p="old.pt") == [("torch.load", "a.pt"), ("torch.load", "b.pt")]


@pytest.mark.parametrize(
    "cell",
    [
        "import torch\ntorch.load(sys.argv[1])",
        "import torch\np = pick()\ntorch.load(p)",
        "import torch\nfor p in files:\n    torch.load(p)",
        "import torch\np = 'a'\np += suffix\ntorch.load(p)",
        "import torch\ntorch.load(*where)",
        "import torch\ntorch.load()",
        "torch.save(m, 'a.pt')",
        "load('a.pt')",
        "json.load(open('a.json'))",
        "model.load('a.pt')",
        "'torch.load(\"a.pt\")'  # torch.load('b.pt')",
        "",
    ],
)
def test_what_only_shows_itself_at_run_time_is_left_to_the_interception(cell):
    assert named(cell, p="never.pt") == []


def test_nothing_is_called_or_read_but_exact_strings_and_paths():
    class Trap(str):
        def __str__(self) -> str:
            pytest.fail("asked for its text")

        __fspath__ = __getattribute__ = __str__

    assert named("import torch\ntorch.load(p)", p=Trap("a.pt")) == []
    assert named("p.load('a.pt')", p=Trap("pickle")) == []


def test_revision_and_line_are_kept():
    (load,) = loads_in("\nAutoModel.from_pretrained('org/name', revision='v1')")
    assert (load.line, load.revision, load.hub) == (2, "v1", True)


def test_repeated_loads_count_once_and_many_are_bounded():
    assert len(named("import torch\ntorch.load('a')\ntorch.load('a')")) == 1
    assert len(named("import torch\n" + "\n".join(f"torch.load('{n}')" for n in range(200)))) == MAX_LOADS


def test_a_cell_that_is_not_python():
    with pytest.raises(SyntaxError):
        loads_in("torch.load('a.pt'")
