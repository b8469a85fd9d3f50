"""What repositories tell a library to load: proven in the libraries themselves, and told by the scanner."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_set import MARKER, samples, written
from sample_set.repositories import ACT, repository, sentences, transformer
from sample_set.repositories import written as unpacked

import nbguard
from nbguard.formats import pbtxt
from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners import class_names, config_keys
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.registry import examine

LOADS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
from transformers import AutoConfig, AutoModel, AutoTokenizer, logging
logging.set_verbosity_error()
def pipeline(folder):
    from diffusers import DiffusionPipeline
    return DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
def sentences(folder):
    from sentence_transformers import SentenceTransformer
    return SentenceTransformer(folder, device="cpu", local_files_only=True)
def trusted(cls):
    return lambda folder: cls.from_pretrained(folder, trust_remote_code=True)
loaders = {"model": trusted(AutoModel), "tokenizer": trusted(AutoTokenizer), "config": AutoConfig.from_pretrained,
           "plain": AutoModel.from_pretrained, "pipeline": pipeline, "sentences": sentences}
out = {}
for name, loader, folder in json.load(sys.stdin):
    os.chdir(os.path.dirname(folder))
    try:
        found, error = loaders[loader](folder), ""
    except BaseException as problem:
        found, error = None, f"{type(problem).__name__}: {problem}"
    marked = os.path.exists("MARKER")
    out[name] = [marked, error[:2000], getattr(found, "planted", None) if loader == "config" else type(found).__name__]
print(json.dumps(out))
""".replace("MARKER", MARKER)


def _shard_elsewhere(folder: Path) -> Path:
    files = dict(transformer())
    (folder / "x.safetensors").write_bytes(files.pop("model.safetensors"))
    index = {"metadata": {"total_size": 1}, "weight_map": {"embeddings.LayerNorm.weight": "../x.safetensors"}}
    return unpacked(folder / "model", {**files, "model.safetensors.index.json": json.dumps(index).encode()})


def _configuration_by_version(folder: Path) -> Path:
    config = json.loads(transformer()["config.json"])
    return repository(
        transformer, ("config.json", {"configuration_files": ["config.5.0.0.json"]}),
        ("config.5.0.0.json", {**config, "planted": "by version"}),
    )(folder)  # fmt: skip


def _base_elsewhere(folder: Path) -> Path:
    unpacked(folder / "other", transformer())
    sample = next(s for s in samples() if s.name == "repo/peft-base-outside")
    place = sample.build(folder)
    config = json.loads((place / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(Path("..") / folder.name / "other")
    (place / "adapter_config.json").write_text(json.dumps(config))
    return place


def _sample(name: str) -> Callable[[Path], Path]:
    return next(s for s in samples() if s.name == f"repo/{name}").build


CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "code": ("model", _sample("transformers-code")),
    "code of a tokenizer": ("tokenizer", _sample("transformers-code-as-a-list")),
    "kernel": ("plain", _sample("transformers-kernel")),
    "shard elsewhere": ("plain", _shard_elsewhere),
    "configuration by version": ("config", _configuration_by_version),
    "base elsewhere": ("plain", _base_elsewhere),
    "component": ("pipeline", _sample("diffusers-code-of-a-component")),
    "pipeline": ("pipeline", _sample("diffusers-code-of-the-pipeline")),
    "module of Python": ("pipeline", _sample("diffusers-module")),
    "path of a module": ("sentences", _sample("sentence-transformers-path")),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each case does in the real library: (the marker is there, the error, what came out)."""
    for module in ("transformers", "peft", "diffusers", "sentence_transformers"):
        pytest.importorskip(module)
    root = tmp_path_factory.mktemp("loads")
    jobs = []
    for number, (name, (loader, build)) in enumerate(CASES.items()):
        folder = root / str(number)
        folder.mkdir()
        jobs.append((name, loader, str(build(folder))))
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LD_LIBRARY_PATH")}
    done = subprocess.run(
        [sys.executable, "-c", LOADS], input=json.dumps(jobs), capture_output=True, text=True, check=False, cwd=root,
        env={**keep, "HF_HOME": str(root / "hf"), "HOME": str(root), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("name", ["code", "code of a tokenizer", "component", "pipeline"])
def test_code_of_the_repository_runs(loaded: dict[str, list[Any]], name: str) -> None:
    assert loaded[name][0], loaded[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [("kernel", "kernels"), ("module of Python", "built-in function system"), ("path of a module", "relative")],
)
def test_the_library_follows_the_name_until_a_check_of_its_own(
    loaded: dict[str, list[Any]], name: str, words: str
) -> None:
    marked, error, _ = loaded[name]
    assert not marked
    assert words in error


def test_files_outside_of_the_repository_and_other_configurations_are_opened(loaded: dict[str, list[Any]]) -> None:
    assert loaded["configuration by version"][2] == "by version", loaded["configuration by version"]
    assert loaded["base elsewhere"][2] == "BertModel", loaded["base elsewhere"]
    assert loaded["shard elsewhere"][2] == "BertModel", loaded["shard elsewhere"]


def test_and_that_is_told(tmp_path: Path) -> None:
    report = nbguard.scan(str(_shard_elsewhere(tmp_path)))
    assert report.verdict is Verdict.DANGER
    assert "config.outside" in {f.rule for f in report.findings}


ACTING = [s for s in samples() if s.loads is not None and s.name.partition("/")[0] in ("chat", "repo", "yaml")]


@pytest.mark.parametrize("sample", ACTING, ids=lambda s: s.name)
def test_a_sample_acts_in_its_real_loader(tmp_path: Path, sample: Any) -> None:
    if not sample.available:
        pytest.skip(f"needs {', '.join(sample.needs)}")
    place = sample.build(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\nfrom pathlib import Path\nfrom sample_set import samples\n"
        "next(s for s in samples() if s.name == sys.argv[1]).loads(Path(sys.argv[2]))"
    )
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", code, sample.name, str(place), str(support)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (tmp_path / MARKER).exists(), done.stderr[-1500:]


# What single keys mean.


def verdict(name: str, document: object) -> Verdict:
    return max((said.verdict for said in config_keys.judge(name, document)), default=Verdict.SAFE)


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("config.json", {"_name_or_path": "/home/me/llama", "attn_implementation": "sdpa"}, "safe"),
        ("config.json", {"_attn_implementation_internal": "flash_attention_2", "model_type": "gpt-neox"}, "safe"),
        ("config.json", {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float16"}, "safe"),
        ("config.json", {"architectures": ["__builtins__"]}, "review"),
        ("config.json", {"backbone": "resnet50", "trust_remote_code": True}, "safe"),
        ("config.json", {"backbone": "hf-hub:org/name"}, "safe"),
        ("config.json", {"backbone": "local-dir:../../x"}, "danger"),
        ("config.json", {"pretrained_cfg": {"file": "", "url": "https://example.org/x.pth"}}, "safe"),
        ("config.json", {"pretrained_cfg": {"file": "../x.pth"}}, "danger"),
        ("config.json", {"index_path": "/proc/self/fd/3"}, "danger"),
        ("config.json", {"index_path": "\\\\server\\share\\x"}, "danger"),
        ("config.json", {"index_path": "https://example.org/x"}, "review"),
        ("tokenizer_config.json", {"tokenizer_file": "/home/me/.cache/tokenizer.json"}, "review"),
        ("tokenizer_config.json", {"tokenizer_file": None, "vocab_file": "vocab.txt"}, "safe"),
        ("tokenizer_config.json", {"special_tokens_map_file": "/home/me/.cache/special_tokens_map.json"}, "safe"),
        ("adapter_config.json", {"base_model_name_or_path": "meta-llama/Llama-2-7b-hf", "megatron_core":
                                 "megatron.core", "revision": None}, "safe"),
        ("adapter_config.json", {"base_model_name_or_path": "/workspace/base"}, "safe"),
        ("adapter_config.json", {"base_model_name_or_path": "C:\\models\\base"}, "safe"),
        ("processor_config.json", {"audio_tokenizer": {"audio_tokenizer_name_or_path": "../x"}}, "unverifiable"),
        ("modular_model_index.json", {"unet": ["diffusers", "U", {"repo": "org/x", "subfolder": "unet"}]}, "safe"),
        ("modular_model_index.json", {"unet": ["diffusers", "U", {"repo": "org/x", "subfolder": "../u"}]}, "danger"),
        ("open_clip_config.json", {"model_cfg": {"text_cfg": {"hf_model_name": "roberta-base"}}}, "safe"),
    ],
)  # fmt: skip
def test_a_key_and_what_it_means(name: str, document: object, expected: str) -> None:
    assert verdict(name, document).word == expected


def test_a_document_beyond_measure_is_told() -> None:
    with pytest.raises(config_keys.TooMuchError):
        config_keys.judge("config.json", {"a": [{}] * (config_keys.MAX_NODES + 1)})
    many = {str(n): {"index_path": f"../{n}"} for n in range(5_000)}
    assert len(config_keys.judge("config.json", many)) == config_keys.MAX_FOUND


def test_more_code_than_is_followed_is_never_safe(tmp_path: Path) -> None:
    maps = {f"A{n}": f"m{n}.C" for n in range(3_000)}
    place = repository(transformer, ("config.json", {"auto_map": {**maps, "Z": "odd.Own"}}), odd_py=ACT)(tmp_path)
    assert nbguard.scan(str(place)).verdict >= Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("torch.nn.modules.activation.Tanh", "free"),
        ("sentence_transformers.models.Pooling", "free"),
        ("torch.nn.os.system", "never"),
        ("torch.nn.functional.torch.hub.load", "never"),
        ("transformers.activations.importlib.import_module", "never"),
        ("torch.load", "never"),
        ("pylate.models.Dense", "package"),
    ],
)
def test_a_name_that_reaches_through_a_free_package_is_not_free(name: str, level: str) -> None:
    assert class_names.judge_class(name).level == level


# Whatever becomes of honest files.

HONEST = [s for s in samples() if s.honest and s.available and s.format in (
    "yaml", "mlmodel", "spacy-config", "triton-config", "ollama-modelfile", "torchserve-mar", "nemo",
    "mlflow-pickle-module",
)]  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """(name, bytes) of every honest file, and of the configurations of two repositories."""
    out = []
    for number, sample in enumerate(HONEST):
        folder = tmp_path_factory.mktemp(f"honest{number}")
        place = sample.build(folder)
        out.append((place.name, place.read_bytes()))
    for files in (transformer(), sentences()):
        out += [(name, data) for name, data in files.items() if name.endswith(".json") and len(data) < 20_000]
    return out


@settings(max_examples=120, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_whatever_becomes_of_a_configuration_there_is_a_verdict(
    honest: list[tuple[str, bytes]], chance: random.Random
) -> None:
    name, data = chance.choice(honest)
    broken = bytearray(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)
    for _ in range(chance.randrange(6)):
        if broken:
            at = chance.randrange(len(broken))
            broken[at : at + chance.randrange(3)] = chance.choice(
                [b"..", b"/", b'"', b"{", b"[", b"!", b"$", b":", b"\n", b"\xff", b"os.system"]
            )
    limits = Limits()
    examine(Job(name, BytesView(bytes(broken)), limits, Budget(limits.unpacked, limits.members)))
    with contextlib.suppress(ValueError):
        pbtxt.read(bytes(broken))


def test_the_text_of_a_protocol_buffer_is_read_as_its_fields() -> None:
    text = b"""a: "x" 'y' # note
    b { c: [ 1, two, "three" ] d: [ { e: 'f' }, { e: -1.5 } ] } g <h: true;>"""
    assert pbtxt.read(text) == [
        ("a", "xy"), ("b.c", "1"), ("b.c", "two"), ("b.c", "three"), ("b.d.e", "f"), ("b.d.e", "-1.5"), ("g.h", "true"),
    ]  # fmt: skip
    for broken in (b"a: {", b"a ]", b'"x"', b"a: ?", b"{ }", b"a: '\\x4'", b"a{" * 200, b"a: [ 1 }"):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever the sentence
            pbtxt.read(broken)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.yaml", b"\n" * 300_000 + b"a: ${oc.env:A}\n"),
        ("x.yaml", b"a: ${" + b" " * 100_000 + b"x}\nuser_dir: ~\n"),
        ("x.yaml", b"a0: &a0 [x, x]\nuser_dir: ~\n" + b"".join(
            b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 50))),
        ("Modelfile", b"\n" * 60_000 + b"FROM x\n"),
        ("config.pbtxt", b"a: [" * 50_000),
        ("tokenizer.json", json.dumps({"model": {}, "normalizer": {"type": "Replace", "content": "+" * 100_000,
                                       "pattern": {"Regex": "(" + "+" * 100_000}}}).encode()),
        ("config.json", json.dumps({"auto_map": {"a": "a/" + "--a.a" * 100_000}}).encode()),
    ],
)  # fmt: skip
def test_what_is_made_to_take_long_does_not(name: str, data: bytes) -> None:
    limits = Limits()
    examine(Job(name, BytesView(data), limits, Budget(limits.unpacked, limits.members)))


def test_files_with_names_of_their_own_are_recognised_by_what_is_in_them(tmp_path: Path) -> None:
    place = written("modelfile.txt", lambda: b"a model file\n")(tmp_path)
    assert nbguard.scan(str(place)).files[0].format == "text"


def test_the_file_that_triton_runs_counts_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "own.py").write_text("open('nbguard-marker', 'w').write('ran')\n")
    (tmp_path / "config.pbtxt").write_text('name: "m"\nbackend: "python"\ndefault_model_filename: "own.py"\n')
    assert nbguard.scan(str(tmp_path)).verdict is Verdict.DANGER


def test_a_module_among_the_storages_of_a_checkpoint_is_looked_at(tmp_path: Path) -> None:
    place = tmp_path / "own-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("own/data.pkl", pickle.dumps({}))
        archive.writestr("own/__init__.py", "from . import data\n")
        archive.writestr("own/data/__init__.py", "open('nbguard-marker', 'w').write('ran')\n")
    assert nbguard.scan(str(place)).verdict is Verdict.DANGER


def test_code_that_nothing_names_is_not_told_as_code_that_a_load_runs(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "train.py").write_text("import json\n\ndef train():\n    return json\n")
    report = nbguard.scan(str(tmp_path))
    assert report.verdict is Verdict.SAFE
    (told,) = report.findings
    assert "nothing in it names it" in told.message
    assert "trust_remote_code" not in told.meaning + told.remedy


def test_a_vocabulary_with_the_character_delete_is_text(tmp_path: Path) -> None:
    for name, data in (("tokenizer.json", b'{"a": "\x7f"}'), ("vocab.txt", b"a\n\x7f\n")):
        job = Job(name, BytesView(data), Limits(), Budget(1 << 20, 100))
        assert examine(job).verdict is Verdict.SAFE


def test_the_file_of_mlflow_counts_in_any_letters(tmp_path: Path) -> None:
    (tmp_path / "mlmodel").write_text("flavors:\n  python_function:\n    loader_module: antigravity\n")
    assert nbguard.scan(str(tmp_path)).verdict is Verdict.DANGER
