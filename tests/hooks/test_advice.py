"""What a question offers beside yes and no: the pinned line, the safetensors, what was meant, what changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from transformers import AutoConfig, AutoModel, BertModel, pipeline  # bound before the guard

from nbguard import hooks
from nbguard.errors import LoadBlocked
from nbguard.hooks import walk, written
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from transformers_tools import Person, fresh


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """The guard is on, and somebody is there to answer."""
    someone = Person()
    monkeypatch.setattr(walk, "ask", someone)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    hooks.install()
    yield someone
    hooks.uninstall()


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a payload would write."""
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    return tmp_path / "marker"


def way(person: Person, kind: str) -> Any:
    found = person.asked[-1].advice.way(kind)
    assert found is not None
    return found


# the line with the revision


def test_the_line_is_the_call_as_it_was_written_with_its_commit(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    config = AutoConfig.from_pretrained(repo)
    commit = hub.store.resolve(repo, "main")
    assert way(person, "pinned").line == f'config = AutoConfig.from_pretrained(repo, revision="{commit}")'
    assert config.hidden_size == 32


def test_a_call_over_several_lines_keeps_them(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    ünïcode = {"größe": 1}
    # fmt: off
    size = [ünïcode["größe"], AutoConfig.from_pretrained(
        repo,
        revision="main",
    ).hidden_size]
    # fmt: on
    commit = hub.store.resolve(repo, "main")
    line = way(person, "pinned").line
    assert line.startswith('size = [ünïcode["größe"], AutoConfig.from_pretrained(\n')
    assert f'revision="{commit}",\n).hidden_size]' in line
    assert size == [1, 32]
    compile(line, "<line>", "exec")


def test_a_pinned_call_needs_no_line(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    AutoConfig.from_pretrained(repo, revision=hub.store.resolve(repo, "main"))
    assert person.asked[-1].advice.way("pinned") is None


def test_code_of_another_repository_is_pinned_by_a_revision_of_its_own(hub: Hub, person: Person) -> None:
    files = files_of("demo/tiny-custom")
    code = fresh(hub, "demo/tiny-custom")
    table = json.loads(files["config.json"])
    table["auto_map"] = {key: f"{code}--{value}" for key, value in table["auto_map"].items()}
    repo = f"{code}-elsewhere"
    without = {n: d for n, d in files.items() if not n.endswith(".py")}
    hub.store.push(repo, {**without, "config.json": json.dumps(table).encode()})
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    line = way(person, "pinned").line
    assert f'revision="{hub.store.resolve(repo, "main")}", code_revision="{hub.store.resolve(code, "main")}"' in line


def test_where_the_source_cannot_be_told_a_line_is_put_together(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    exec(
        compile("c = AutoConfig.from_pretrained(repo, trust_remote_code=False)", "<no such cell>", "exec"),
        globals(),
        {"repo": repo},
    )
    commit = hub.store.resolve(repo, "main")
    assert way(person, "pinned").line == (
        f'AutoConfig.from_pretrained("{repo}", trust_remote_code=False, revision="{commit}")'
    )


@pytest.mark.parametrize("text", ['a"b', "a\\b", "\u202etxt", "\U0001f600", "a\nb", "'"])
def test_text_in_a_line_is_one_literal(text: str) -> None:
    import ast

    line = written.line("torch.load", text, {"variant": text, "model_kwargs": {"a": True}})
    assert line.isascii()
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert ast.literal_eval(call.args[0]) == text


# safetensors first


def files_of_both(variant: str = "fp16") -> dict[str, bytes]:
    """Weights as a hostile pickle, and as safetensors that `from_pretrained` would not take by itself."""
    files = files_of("demo/tiny-bert")
    good = files.pop("model.safetensors")
    bad = next(data for name, data in files_of("hostile/fast-sentiment").items() if name.endswith(".bin"))
    name = f"model.{variant}.safetensors" if variant else "model.safetensors"
    return {**files, "pytorch_model.bin": bad, name: good}


def both(hub: Hub, *, variant: str = "fp16", **more: bytes) -> str:
    repo = fresh(hub, "demo/tiny-bert") + "-both"
    hub.store.push(repo, {**files_of_both(variant), **more})
    return repo


@pytest.mark.parametrize(("variant", "given"), [("fp16", {}), ("", {"use_safetensors": False})])
def test_the_safetensors_are_loaded_in_the_place_of_the_pickle(
    hub: Hub, person: Person, marker: Path, variant: str, given: dict[str, Any]
) -> None:
    repo = both(hub, variant=variant)
    person.choice = "safetensors"
    model = AutoModel.from_pretrained(repo, **given)
    assert isinstance(model, BertModel)
    assert [r.verdict for r in person.asked] == [Verdict.DANGER], (
        "what was chosen is data, and needs no second question"
    )
    found = way(person, "safetensors")
    assert "use_safetensors=True" in found.line
    assert ('variant="fp16"' in found.line) is bool(variant)
    assert person.asked[-1].advice.ways[0] is found
    assert not marker.exists()


def test_refusing_is_still_refusing(hub: Hub, person: Person, marker: Path) -> None:
    repo = both(hub)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo)
    assert not marker.exists()


def test_what_was_chosen_is_asked_about_where_it_is_more_than_data(hub: Hub, person: Person) -> None:
    custom = files_of("demo/tiny-custom")
    repo = both(hub, **{n: d for n, d in custom.items() if n.endswith(".py") or n == "config.json"})
    answers = iter(["safetensors", "refuse"])
    person.meanwhile = lambda: setattr(person, "choice", next(answers))
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert [r.verdict for r in person.asked] == [Verdict.DANGER, Verdict.REVIEW]


def test_an_unreadable_pickle_with_safetensors_beside_it_can_be_replaced(hub: Hub, person: Person) -> None:
    repo = both(hub, **{"pytorch_model.bin": b"\x80\x04\x95" + b"\xff" * 60})
    person.choice = "once"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo)
    assert person.asked[-1].verdict is Verdict.UNVERIFIABLE
    person.choice = "safetensors"
    assert isinstance(AutoModel.from_pretrained(repo), BertModel)


def test_a_pipeline_gets_the_line(hub: Hub, person: Person, marker: Path) -> None:
    repo = both(hub)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        pipeline("text-classification", repo)
    found = way(person, "safetensors")
    assert found.arguments == ()
    assert 'model_kwargs={"use_safetensors": True, "variant": "fp16"}' in found.line
    assert not marker.exists()


def test_a_sibling_file_is_named(person: Person, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    place = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.ones(2)}, place)
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    person.choice = "refuse"
    with pytest.raises(LoadBlocked, match=r"safetensors\.torch\.load_file"):
        state = torch.load(place, weights_only=False)
    found = way(person, "safetensors")
    assert (
        found.line == f'import safetensors.torch\nstate = safetensors.torch.load_file("{tmp_path}/model.safetensors")'
    )
    scope: dict[str, Any] = {}
    person.choice = "once"
    exec(found.line, scope)
    state = scope["state"]
    assert state["w"].tolist() == [1.0, 1.0]


def test_no_alternative_is_made_up(person: Person, tmp_path: Path) -> None:
    place = tmp_path / "model.bin"
    torch.save({"w": torch.ones(2)}, place)
    (tmp_path / "other.safetensors").write_bytes(b"")
    torch.load(place, weights_only=False)
    assert person.asked[-1].advice.way("safetensors") is None


# names, and what was accepted before


def test_a_lookalike_is_told_before_it_loads(hub: Hub, person: Person) -> None:
    hub.store.push("g00gle/tiny", files_of("demo/tiny-bert"))
    person.choice = "refuse"
    with pytest.raises(LoadBlocked, match="Did you mean google/tiny"):
        AutoModel.from_pretrained("g00gle/tiny")
    report = person.asked[-1]
    assert (report.verdict, report.findings[0].rule) == (Verdict.REVIEW, "name.homoglyph")


def test_the_next_question_says_what_changed_and_who_accepted(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert person.asked[-1].advice.since is None
    first = hub.store.resolve(repo, "main")
    name = next(n for n in files_of("demo/tiny-custom") if n.endswith(".py"))
    changed = files_of("demo/tiny-custom")[name] + b"\nEXTRA = 1\n"
    hub.store.push(repo, {**files_of("demo/tiny-custom"), name: changed})
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    since = person.asked[-1].advice.since
    assert since is not None
    assert (since.who, since.how, since.commit, since.changed) == ("tester", "once", first, (name,))
    assert "+EXTRA = 1" in since.code[0].diff


def test_parts_of_one_commit_are_no_change(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    AutoConfig.from_pretrained(repo, trust_remote_code=True)
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert [r.advice.since for r in person.asked] == [None] * len(person.asked)


def test_diffusers_can_do_it_too(person: Person, tmp_path: Path) -> None:
    import diffusers
    from safetensors.torch import save_file

    place = tmp_path / "vae"
    hooks.uninstall()  # what a guarded kernel writes is its own work, and asks nothing
    sizes = {"block_out_channels": (4,), "norm_num_groups": 2, "latent_channels": 2}
    model = diffusers.AutoencoderKL(**sizes)
    model.save_config(place)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, place / "diffusion_pytorch_model.fp16.safetensors"
    )
    torch.save(torch.nn.Linear(1, 1), place / "diffusion_pytorch_model.bin")
    hooks.install()
    person.choice = "safetensors"
    loaded = diffusers.AutoencoderKL.from_pretrained(str(place))
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    assert 'loaded = diffusers.AutoencoderKL.from_pretrained(str(place), use_safetensors=True, variant="fp16")' in (
        way(person, "safetensors").line
    )
    assert loaded.config.latent_channels == 2


def test_an_answer_that_was_not_offered_refuses(person: Person, tmp_path: Path, hub: Hub) -> None:
    place = tmp_path / "model.bin"
    hooks.uninstall()
    torch.save({"w": torch.ones(2)}, place)
    hooks.install()
    person.choice = "safetensors"
    with pytest.raises(LoadBlocked, match="Refused"):
        torch.load(place, weights_only=False)
    with pytest.raises(LoadBlocked, match="Refused"):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-bert"))


@pytest.mark.parametrize("name", ["m\u0435ta-llama/nothing", "meta-lama/nothing"])
def test_a_name_that_leads_nowhere_is_answered_with_what_was_meant(hub: Hub, person: Person, name: str) -> None:
    with pytest.raises(OSError, match=r"Did you mean meta-llama/nothing \(Meta\)\?"):
        AutoModel.from_pretrained(name)
    assert person.asked == []


def test_no_line_is_given_to_what_should_not_be_loaded_and_one_for_code_says_so() -> None:
    import dataclasses

    from sample_reports import report as sample

    from nbguard.hooks.advice import _pinned
    from nbguard.report.advice import Way
    from nbguard.report.model import CodeFile, Finding, Severity

    def pinned(verdict: Verdict, *findings: Finding, **contract: Any) -> Way | None:
        made = sample(verdict)
        return _pinned(
            dataclasses.replace(
                made,
                findings=findings,
                artifact=dataclasses.replace(made.artifact, kind="hub", commit="c" * 40),
                contract=dataclasses.replace(made.contract, **{"code": (), **contract}),
            ),
            None,
        )

    alike = Finding("name.alike", Severity.HIGH, "README.md", "", "It looks like another name.")
    plain = pinned(Verdict.SAFE)
    assert plain is not None
    assert "trust_remote_code" not in plain.line
    assert pinned(Verdict.DANGER) is pinned(Verdict.UNVERIFIABLE) is pinned(Verdict.REVIEW, alike) is None
    coded = pinned(Verdict.REVIEW, code=(CodeFile("modeling.py", "a" * 64),))
    assert coded is not None
    assert "trust_remote_code=True" in coded.line
