"""Names that look like well-known ones, and names that do not."""

from __future__ import annotations

import dataclasses
import socket

import pytest
from loopback_hub import Hub
from sample_reports import report as sample

from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.errors import TargetError
from nbguard.policy import Situation, decide, presets
from nbguard.provenance import assess, resembles, with_name
from nbguard.provenance.publishers import lookalikes, publishers
from nbguard.report import html, text
from nbguard.report.model import Report, Severity, Verdict


@pytest.mark.parametrize(
    ("name", "meant", "how", "detail"),
    [
        ("meta_llama/Llama-3.1-8B", "meta-llama", "homoglyph", "“_” stands for “-”"),
        ("meta-Ilama/Llama-3.1-8B", "meta-llama", "homoglyph", "“I” stands for “l”"),
        ("meta-1lama/Llama-3.1-8B", "meta-llama", "homoglyph", "“1” stands for “l”"),
        ("meta.llama/Llama-3.1-8B", "meta-llama", "homoglyph", "“.” stands for “-”"),
        ("g00gle/gemma-2b", "google", "homoglyph", "“0” stands for “o”"),
        ("gQogle/gemma-2b", "google", "homoglyph", "“Q” stands for “o”"),
        ("rnicrosoft/phi-3", "microsoft", "homoglyph", "“rn” stands for “m”"),
        ("nnistralai/Mistral-7B", "mistralai", "homoglyph", "“nn” stands for “m”"),
        ("Qvven/Qwen2-7B", "Qwen", "homoglyph", "“vv” stands for “w”"),
        ("mеta-llama/Llama-3", "meta-llama", "homoglyph", "“е” (Cyrillic small letter ie) stands for “e”"),
        ("metalllama/Llama-3", "meta-llama", "typosquat", "91% alike"),
        ("meta-lalma/Llama-3", "meta-llama", "typosquat", "turned round"),
        ("nvodia/x", "nvidia", "typosquat", "“o” stands for “i” (a neighbour on the keyboard)"),
        ("bigsience/bloom", "bigscience", "typosquat", "“c” was left out"),
        ("applee/x", "apple", "typosquat", "“e” was added"),
        ("mistral/Mistral-7B", "mistralai", "typosquat", "“ai” was left out"),
        ("Qwenn/Qwen2-7B", "Qwen", "typosquat", "“n” was added"),
        ("metallama/Llama-3", "meta-llama", "separators", "separators"),
        ("deepseekai/DeepSeek-R1", "deepseek-ai", "separators", "separators"),
        ("meta-llama-community/Llama-3", "meta-llama", "affix", "“community”"),
        ("openai-official/whisper-large", "openai", "affix", "“official”"),
        ("meta-llama-hf/Llama-3", "meta-llama", "affix", "“hf”"),
        ("the-google/gemma", "google", "affix", "“the”"),
        ("Meta-Llama/Llama-3", "meta-llama", "case", "capital"),
        ("bob/Llama-3.1-8B-Instruct", "meta-llama", "borrowed name", "bob"),
        ("bob/t5-small", "google-t5", "borrowed name", "bob"),
    ],
)
def test_a_lookalike_is_named_with_what_was_done_to_the_name(name: str, meant: str, how: str, detail: str) -> None:
    found = resembles(name)[0]
    assert found.meant == f"{meant}/{name.partition('/')[2]}"
    assert found.how == how
    assert detail in found.detail
    assert 0 <= found.similarity <= 1


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("meta_llama/Llama-3", Severity.CRITICAL),
        ("metalllama/Llama-3", Severity.CRITICAL),
        ("metallama/Llama-3", Severity.CRITICAL),
        ("meta-llama-community/Llama-3", Severity.HIGH),
        ("bob/Llama-3-8B", Severity.MEDIUM),
    ],
)
def test_the_nearer_the_worse(name: str, severity: Severity) -> None:
    assert resembles(name)[0].severity is severity


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.1-8B", "openai-community/gpt2", "FacebookAI/roberta-base", "google-bert/bert-base-uncased",
        "zai-org/GLM-4.5", "xai-org/grok-1", "mistral-community/Mixtral-8x22B-v0.1", "TheBloke/Llama-2-7B-GGUF",
        "HuggingFaceTB/SmolLM2-135M", "gpt2", "bert-base-uncased",
        "bob/llama-3-german-finetune", "demo/tiny-bert", "alice/my-model", "org/name", "intelligence/x",
        "metaverse/llama", "applied-ai/x", "gopher/x", "a/b", "apollo/mistral-finetuned-on-law",
    ],
)  # fmt: skip
def test_honest_names_look_like_nobody_else(name: str) -> None:
    assert resembles(name) == ()


def test_no_known_publisher_is_taken_for_a_lookalike_of_another() -> None:
    assert [n for n in publishers() if resembles(f"{n}/model")] == []


def test_each_risk_has_its_line() -> None:
    assert str(assess("meta-Ilama/Llama-3")).startswith(
        "[CRITICAL] meta-Ilama/Llama-3 -> Looks like meta-llama (homoglyph)"
    )
    assert str(assess("meta-llama/Llama-3")) == "[LOW] meta-llama/Llama-3 -> Trusted publisher (Meta)"
    assert assess("my-model").risk == "high"
    assert assess("somebody/my-model").risk == "medium"
    assert assess("gpt2").risk == "low"


def test_the_publishers_that_everybody_knows_are_there_with_their_models() -> None:
    wanted = {
        "meta-llama": ("Llama-3.1-8B", "Llama-2-7b", "Code-Llama-7b"), "google": ("gemma-2b", "flan-t5", "bert-x"),
        "mistralai": ("Mistral-7B", "Mixtral-8x7B"), "microsoft": ("phi-3", "deberta-v3"),
        "openai": ("whisper-large", "clip-vit"),
    }  # fmt: skip
    for name, models in wanted.items():
        assert publishers()[name].verified
        assert all(publishers()[name].claims(model) for model in models)
    assert len(publishers()) >= 60
    assert all(p.organisation and " " not in p.name for p in publishers().values())
    assert set(lookalikes().moved.values()) <= {
        m for m in lookalikes().moved.values() if m.split("/")[0] in publishers()
    }


def test_long_and_hostile_names_are_compared_in_bounds() -> None:
    for name in ("a" * 100_000 + "/b", "meta-llama" * 500 + "/" + "x" * 500, "\x1b[31m\u202e/" + "<script>", "/", ""):
        assess(name)


def test_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    assert assess("meta-Ilama/Llama-3").risk == "critical"


def on_the_hub(name: str, report: Report) -> Report:
    files = tuple(ArtifactFile(f.path, f.size, f.format, "sha256:00") for f in report.files)
    artifact = Artifact(name, "hub", files, commit="0" * 40)
    return dataclasses.replace(report, target=name, artifact=artifact, provenance={"repo": name})


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("meta-Ilama/Llama-3", "danger"),
        ("meta-llama-community/Llama-3", "full"),
        ("bob/Llama-3-8B", "full"),
        ("my-model", "full"),
        ("Meta-Llama/Llama-3", "compact"),
        ("bob/other", "compact"),
    ],
)
def test_a_lookalike_is_never_one_click(name: str, form: str) -> None:
    report = with_name(on_the_hub(name, sample(Verdict.SAFE)))
    decision = decide(report, presets()["balanced"], Situation(person=True))
    assert (decision.action, decision.form) == ("ask", form)
    doubtful = report.top_severity is Severity.MEDIUM
    assert report.verdict is (Verdict.SAFE if form == "compact" or doubtful else Verdict.REVIEW)
    nobody = decide(report, presets()["balanced"], Situation(person=False))
    assert nobody.action == ("allow" if report.verdict is Verdict.SAFE else "deny")
    if form == "danger":
        assert "always" not in decision.offers


def test_the_question_says_what_was_meant() -> None:
    report = with_name(on_the_hub("meta-Ilama/Llama-3", sample(Verdict.SAFE)))
    for page in (html.render(report), text.render(report)):
        assert "Did you mean" in page
        assert "meta-llama/Llama-3" in page
    assert report.to_json()["did_you_mean"]["name"] == "meta-llama/Llama-3"
    assert report.findings[0].rule == "name.homoglyph"
    assert with_name(report) == report


def test_a_name_makes_nothing_better() -> None:
    report = on_the_hub("meta-Ilama/Llama-3", sample(Verdict.DANGER))
    assert with_name(report).verdict is Verdict.DANGER
    unreadable = dataclasses.replace(report, files=())
    assert with_name(unreadable).verdict is Verdict.UNVERIFIABLE


def test_a_local_folder_has_no_publisher() -> None:
    assert with_name(sample(Verdict.SAFE)) == sample(Verdict.SAFE)


def test_other_repositories_that_a_load_draws_in_are_judged_too() -> None:
    local = dataclasses.replace(
        sample(Verdict.SAFE), provenance={"source": "folder", "also from g00gle/base": "0" * 40}
    )
    report = with_name(local)
    assert (report.verdict, report.findings[0].file) == (Verdict.REVIEW, "g00gle/base")
    remote = on_the_hub("org/name", sample(Verdict.SAFE))
    remote = dataclasses.replace(remote, provenance={**remote.provenance, "code from meta_llama/code": "0" * 40})
    assert with_name(remote).findings[0].rule == "name.homoglyph"


def test_a_repository_that_is_not_there_is_answered_with_what_was_meant(hub: Hub) -> None:
    from nbguard.commands import actions

    with pytest.raises(TargetError, match=r"no repository g00gle/nothing.*Did you mean google/nothing \(Google\)\?"):
        actions.scan_target("g00gle/nothing")
    with pytest.raises(TargetError) as error:
        actions.scan_target("somebody/nothing")
    assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize("where", ["snapshots/0123", "blobs"])
def test_a_file_in_the_cache_has_the_name_of_its_repository(where: str) -> None:
    place = f"/home/ada/.cache/huggingface/hub/models--g00gle--tiny/{where}/model.bin"
    report = dataclasses.replace(sample(Verdict.SAFE), provenance={"source": "file", "path": place})
    assert with_name(report).findings[0].file == "g00gle/tiny"
    other = dataclasses.replace(report, provenance={"path": "/home/ada/models--g00gle--tiny.bin"})
    assert with_name(other) == other


def test_the_public_scan_says_it(hub: Hub) -> None:
    import nbguard

    hub.store.push("meta_llama/tiny", {"config.json": b"{}", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"})
    report = nbguard.scan("meta_llama/tiny")
    assert report.findings[0].rule == "name.homoglyph"
    assert report.verdict is not Verdict.SAFE
