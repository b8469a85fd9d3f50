"""The names that people are deceived with, each with whom it imitates, and owners that nobody should be warned of."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.provenance.letters import latin, loose, odd, skeleton
from nbguard.provenance.names import assess, assess_owner, resembles
from nbguard.provenance.publishers import lookalikes, publishers
from nbguard.provenance.slips import cost
from nbguard.report.model import Severity

TABLE = """
homoglyph      meta-llama     meta_llama meta-Ilama meta-1lama meta.llama meta-l1ama m3ta-llama met4-llama meta-|lama
homoglyph      google         g00gle gQogle go0gle goog1e gοοgle ｇｏｏｇｌｅ
homoglyph      microsoft      rnicrosoft nnicrosoft micros0ft RNICROSOFT rnicr0s0ft mіcrosoft m1crosoft
homoglyph      mistralai      nnistralai mistraIai rnistralai mistra1ai m1stra1ai
homoglyph      openai         0penai opena1 OpenAl оpenai орenai
homoglyph      Qwen           Qvven 0wen Owen Qwеn
homoglyph      deepseek-ai    deepseek_ai deepsееk-ai d33pseek-ai cleepseek-ai
homoglyph      nvidia         nvidіa nv1dia ռvidia
homoglyph      stabilityai    stabi1ityai stabiIityai 5tabilityai
homoglyph      TheBloke       TheBIoke TheB1oke TheBl0ke
homoglyph      facebook       faceb00k facebооk
homoglyph      EleutherAI     EIeutherAI E1eutherAI EleutherAl
homoglyph      apple          appIe app1e аpple
homoglyph      black-forest-labs   bIack-forest-labs black_forest_labs b1ack-f0rest-labs
invisible      meta-llama     meta\u200b-llama meta-llama\ufeff \u202eamall-atem meta\u00ad-llama me\u0336ta-llama
typosquat      meta-llama     metalllama meta-lama meta-llamma meta-lalma mata-llama metta-llama meta-llama4
typosquat      google         gogle googel googlee giogle gooogle
typosquat      microsoft      mircosoft micorsoft microsft microsoftt microsodt
typosquat      mistralai      mistral mistrlai misralai mistarlai mistralia
typosquat      openai         opanai opneai oepnai opemai
typosquat      huggingface    hugingface huggingfce huggignface huggingfaces
typosquat      deepseek-ai    deepseek deepsek-ai depseek-ai deepseek-a1i
typosquat      Qwen           Qwenn Qwne Qween
typosquat      nvidia         nvida nvdiia nvodia
typosquat      sentence-transformers   sentence-transformer sentence-trnasformers sentense-transformers
separators     meta-llama     metallama m-eta-llama
separators     deepseek-ai    deepseekai deep-seek-ai
separators     huggingface    hugging-face
separators     stabilityai    stability-ai
separators     openai         open-ai
word_order     meta-llama     llama-meta
word_order     deepseek-ai    ai-deepseek
affix          meta-llama     meta-llama-community meta-llama-official meta-llama-hf
affix          meta-llama     official-meta-llama metallama-official meta-llama-germany
affix          google         Google-AI GoogleAI google-ai the-google
affix          google         google-models google-official googleofficial google-2
affix          openai         openai-hf openai-official openai-team
affix          mistralai      mistralai-community mistral-official mistralai-gguf
affix          microsoft      microsoft-gguf microsoft-foundation
affix          deepseek-ai    deepseek-official deepseek-ai-team
affix          Qwen           Qwen-official Qwenofficial Qwen-Community
affix          TheBloke       TheBloke-AI TheBloke-GGUF TheBloke-official
affix          nvidia         nvidia-ai nvidia-labs
case           meta-llama     Meta-Llama META-LLAMA
"""


def rows() -> list[tuple[str, str, str]]:
    found = []
    for line in TABLE.strip().splitlines():
        how, meant, *names = line.split()
        found += [(re.sub(r"\\u(\w{4})", lambda m: chr(int(m[1], 16)), name), meant, how) for name in names]
    return [(name, meant, how.replace("_", " ")) for name, meant, how in found]


def test_the_table_is_long_enough() -> None:
    assert len({name for name, *_ in rows()}) == len(rows()) >= 100


@pytest.mark.parametrize(("name", "meant", "how"), rows())
def test_a_lookalike_is_told_with_whom_it_imitates(name: str, meant: str, how: str) -> None:
    for found in (resembles(f"{name}/some-model")[0], assess_owner(name).resemblances[0]):
        assert (found.publisher.name, found.how) == (meant, how)
        assert found.detail
        assert 0.5 < found.confidence < 1


@cache
def named() -> frozenset[str]:
    """What stands as `org/name` between quotes in the sources of three libraries; each name and file is bounded."""
    quoted = re.compile(r"""["'`]([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})["'`]""", re.ASCII)
    found: set[str] = set()
    for module in ("transformers", "diffusers", "timm"):
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        for file in Path(spec.origin).parent.rglob("*.py"):
            found.update(quoted.findall(file.read_text("utf-8", "replace")[:2_000_000]))
    return frozenset(found)


def test_one_in_a_hundred_owners_that_libraries_name_is_flagged_at_most() -> None:
    owners = {name.partition("/")[0] for name in named()}
    assert len(owners) > 300
    flagged = {owner for owner in owners if resembles(f"{owner}/some-model")}
    assert len(flagged) <= len(owners) / 100, sorted(flagged)
    assert {owner for owner in owners if assess_owner(owner).resemblances} == flagged


def test_a_known_model_under_an_unknown_owner_is_no_more_than_a_doubt() -> None:
    found = {name: resembles(name)[0] for name in named() if resembles(name)}
    severe = {name for name, first in found.items() if first.severity >= Severity.HIGH}
    assert len(severe) <= len(named()) / 100, sorted(severe)
    assert len(found) <= len(named()) / 50, sorted(found)


@pytest.mark.parametrize(
    "owner",
    ["owen", "alberto", "alberta", "adapt", "interactive", "metal", "visionary", "deepmindset", "amazonas", "rina",
     "timmy", "openalex", "nvme", "facebooker", "intelligent", "transformers", "pytorch", "keras", "fastai",
     "redhat", "allen", "bob-ai",
     "stanford", "lightning-ai", "deep-learning-ai", "ai-community", "open-models", "ml-research", "meta"],
)  # fmt: skip
def test_honest_owners_are_let_be(owner: str) -> None:
    assert resembles(f"{owner}/some-model") == ()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("my-model", "[HIGH] my-model -> No namespace"),
        ("meta-llama/Llama-3.1-8B", "[LOW] meta-llama/Llama-3.1-8B -> Trusted publisher (Meta)"),
        ("google/gemma-2b", "[LOW] google/gemma-2b -> Trusted publisher (Google)"),
        ("meta_llama/x", "[CRITICAL] meta_llama/x -> Looks like meta-llama (homoglyph): “_” stands for “-”"),
        ("meta-Ilama/x", "[CRITICAL] meta-Ilama/x -> Looks like meta-llama (homoglyph): “I” stands for “l”"),
        ("meta-|lama/x", "[CRITICAL] meta-|lama/x -> Looks like meta-llama (homoglyph): “|” stands for “l”"),
        ("metalllama/x", "[CRITICAL] metalllama/x -> Looks like meta-llama (typosquat): “l” stands for “-”, 91% alike"),
        ("somebody/x", "[MEDIUM] somebody/x -> Unknown publisher"),
    ],
)
def test_each_risk_is_one_line(name: str, line: str) -> None:
    assert str(assess(name)).startswith(line)


@pytest.mark.parametrize(
    ("letter", "seen"),
    [("l", "I"), ("l", "1"), ("l", "|"), ("o", "0"), ("o", "Q"), ("m", "rn"), ("m", "nn"), ("-", "_"), ("-", ".")],
)
def test_each_substitution_is_critical_for_every_publisher_that_has_the_letter(letter: str, seen: str) -> None:
    for publisher in publishers().values():
        name = publisher.name.lower().replace(letter, seen, 1)
        if letter in publisher.name.lower() and len(publisher.name) > 4:
            found = assess(f"{name}/x")
            assert found.risk == "critical", name
            assert publisher.name in {r.publisher.name for r in found.resemblances}, name


def test_every_publisher_says_whose_it_is_and_what_it_publishes() -> None:
    assert len(publishers()) > 200
    for publisher in publishers().values():
        assert publisher.organisation
        assert isinstance(publisher.verified, bool)
        assert all(pattern and "/" not in pattern for pattern in publisher.models)
    assert sum(1 for p in publishers().values() if p.verified and not p.models) < 20
    assert set(lookalikes().claims) <= lookalikes().affixes


def test_letters_that_no_name_on_the_hub_has_are_told_whatever_they_resemble() -> None:
    assert odd("meta-llama/x") == ""
    assert "Cyrillic small letter ie" in odd("somеbody")
    assert "zero width space" in odd("some\u200bbody")
    assert "turns the direction" in odd("some\u202ebody")
    assert odd("имя").startswith("it has letters that no name on the Hub has")
    assert assess("some\u200bbody/x").risk == "high"


def test_a_trusted_model_under_an_unknown_owner_is_told_and_a_copy_is_told_as_one() -> None:
    assert resembles("bob/Llama-3.1-8B-Instruct")[0].how == "borrowed name"
    assert resembles("bob/meta-llama_Llama-3.1-8B")[0].how == "borrowed name"
    copy = resembles("bob/Llama-3.1-8B-Instruct-GGUF")[0]
    assert (copy.how, copy.severity, copy.publisher.name) == ("re-upload", Severity.INFO, "meta-llama")
    assert copy.confidence < 0.5 < resembles("meta-Ilama/x")[0].confidence
    assert resembles("meta-llama-gguf/Llama-3.1-8B-GGUF")[0].how == "affix"


def test_a_repository_of_data_has_an_owner_too() -> None:
    assert assess("datasets/g00gle/x").risk == "critical"
    assert assess("datasets/google/x").risk == "low"


def test_slips_of_fingers_cost_less_than_other_letters() -> None:
    assert cost("nvidia", "nvidia") == 0
    assert cost("nvodia", "nvidia") < cost("nvxdia", "nvidia") == 1
    assert cost("nvidai", "nvidia") == cost("nvidiia", "nvidia") == 0.5
    assert cost("meta--llama", "meta-llama") < 0.5
    assert cost("entirely", "different-name") > 3


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_a_name_is_it_is_judged(owner: str, model: str) -> None:
    found = assess(f"{owner}/{model}")
    assert found.risk in ("low", "medium", "high", "critical")
    assert "\n" not in str(found) or "\n" in f"{owner}/{model}"
    assert skeleton(owner) == skeleton(owner).lower()
    assert "I" not in loose(owner)
    latin(owner)
