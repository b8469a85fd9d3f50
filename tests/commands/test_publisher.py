"""`nbguard publisher`: names judged from the command line, offline."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.cli import main
from nbguard.commands.publisher import exit_code, judged
from nbguard.errors import TargetError
from nbguard.provenance import did_you_mean
from nbguard.provenance.spelled import NameUnclear, bare_name


def asked(capsys: pytest.CaptureFixture[str], *names: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["publisher", *names, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)["results"]


def test_json_has_what_was_promised(capsys: pytest.CaptureFixture[str]) -> None:
    code, (first, second) = asked(capsys, "meta_llama", "meta-llama")
    assert code == 1
    assert (first["name"], first["known"]) == ("meta_llama", False)
    resembled = first["resembles"][0]
    assert (resembled["publisher"], resembled["how"], resembled["confidence"]) == ("meta-llama", "homoglyph", 0.99)
    assert (second["known"], second["resembles"], second["risk"]) == (True, [], "low")
    assert (second["organisation"], second["verified"]) == ("Meta", True)
    assert "Llama-3*" in second["models"]


def test_a_model_of_a_publisher_is_known_as_one_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    _, (own, other) = asked(capsys, "hf://google/gemma-2b@main", "google/something-else")
    assert (own["own_model"], other["own_model"]) == (True, False)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["google/gemma-2b", "somebody/x"], 0),
        (["google", "g00gle"], 1),
        (["../models/x"], 2),
        (["../models/x", "g00gle"], 1),
        (["", "google"], 2),
        (["some\u200bbody/x"], 2),
        (["my-model"], 0),
    ],
)
def test_the_exit_code_says_what_was_found(capsys: pytest.CaptureFixture[str], names: list[str], code: int) -> None:
    assert main(["publisher", *names]) == code
    assert len(capsys.readouterr().out.splitlines()) >= len(names)


def test_text_is_a_line_for_each_name(capsys: pytest.CaptureFixture[str]) -> None:
    main(["publisher", "meta-Ilama/Llama-3", "x\x1b[31m/y", "meta\u200b-llama"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[CRITICAL] meta-Ilama/Llama-3 -> Looks like meta-llama (homoglyph): “I” stands for “l”"
    assert lines[1].startswith("[HIGH] x\\x1b[31m/y -> Not a name that the Hub allows")
    assert lines[2].startswith("[CRITICAL] meta\\u200b-llama -> Looks like meta-llama (invisible)")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("org/name", "org/name"), ("hf://org/name", "org/name"), ("hf://org/name@v1.0", "org/name"), ("org", "org"),
        ("org/name@refs/pr/1", "org/name"), ("https://huggingface.co/org/name", "org/name"),
        ("https://huggingface.co/org/name/", "org/name"), ("https://huggingface.co/org/name/tree/main/x", "org/name"),
        ("huggingface.co/org", "org"), ("https://hf.co/datasets/org/name?x=1#y", "org/name"),
        ("hf://datasets/org/name@main", "org/name"), (" org/name\n", "org/name"), ("org/name/tree/main", "org/name"),
    ],
)  # fmt: skip
def test_a_name_is_read_in_every_way_that_people_write_one(text: str, name: str) -> None:
    assert bare_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "/", "/etc/passwd", "./x", "../x", "a/../b", "~/x", "C:\\models\\x", "a/b/c", "org/", "/name", "hf://",
        "a" * 97, "org/" + "b" * 97, "x" * 10_000, "\udcff/x", "https://example.org/meta-llama/x", "a//b",
        "https://huggingface.co@example.org/meta-llama/x", "https://evil-huggingface.co/meta-llama/x",
    ],
)  # fmt: skip
def test_what_can_be_no_name_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(NameUnclear) as refused:
        bare_name(text)
    assert str(refused.value).endswith(".")
    assert exit_code(judged([text])) == 2


def test_a_mirror_that_is_set_is_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org/")
    assert bare_name("https://hub.example.org/org/name") == "org/name"


def test_a_name_that_is_not_utf8_ends_in_json_that_everybody_reads() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nbguard.cli", "publisher", "--format", "json", os.fsdecode(b"meta\xff-llama")],
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, b"")
    (result,) = json.loads(done.stdout)["results"]
    assert result["name"] == "meta\\xff-llama"
    result["name"].encode("utf-8")


def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    assert asked(capsys, "meta-Ilama/Llama-3")[0] == 1


def test_an_error_says_which_name_may_have_been_meant() -> None:
    for name in ("g00gle/x", "hf://g00gle/x@main", "https://huggingface.co/g00gle/x/tree/main"):
        assert "Did you mean google/x (Google)?" in str(did_you_mean(TargetError("Not there."), name))
    for name in ("../g00gle/x", "somebody/x", "bob/Llama-3.1-8B", "", "\udcff"):
        assert str(did_you_mean(TargetError("Not there."), name)) == "Not there."


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=120) | st.text("metal-I/_.@:h f\u200b\udcff", max_size=60), min_size=1, max_size=2))
def test_every_list_of_names_has_an_answer(names: list[str]) -> None:
    results = judged(names)
    assert [set(r) >= {"name", "known", "resembles", "risk"} for r in results] == [True] * len(names)
    assert exit_code(results) in (0, 1, 2)
    json.dumps(results).encode("ascii")
