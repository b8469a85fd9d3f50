"""Six steps, none of which can be left out, from a name on the Hub to files that loaders find."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir
from loopback_hub import Hub, offer
from loopback_hub.faults import misbehaving, requests

import nbguard
from nbguard import cli
from nbguard.acquire import checksums
from nbguard.acquire.download import Downloaded, DownloadRefused
from nbguard.acquire.picking import pick
from nbguard.approvals import AuditLog
from nbguard.artifact import fetching, ranged_http
from nbguard.artifact.quarantine import QuarantineError
from nbguard.errors import TargetError
from nbguard.policy import Decision
from nbguard.provenance.checksums import manifest_line

BERT = "demo/tiny-bert"
CONFIG = b'{"model_type": "bert"}'


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch marker",)


BOMB = pickle.dumps(Bomb())
EMPTY = b"\x02\0\0\0\0\0\0\0{}"
"""Safetensors without a tensor."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ranged_http, "PAUSE", 0.0)
    monkeypatch.setattr(ranged_http, "MAX_PAUSE", 0.0)
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NBGUARD_FACE", "none")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def download(repo: str, cache: Path, **more: Any) -> Downloaded:
    return nbguard.download(repo, cache_dir=cache, say=None, **more)


def promoted(cache: Path) -> list[str]:
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if ".locks" not in p.parts)


def events() -> list[str]:
    return [entry["event"] for entry in AuditLog().entries()]


def test_a_safe_repository_is_promoted_and_loads(hub: Hub, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoConfig, AutoModel

    offer(hub.store, BERT)
    done = nbguard.download(BERT, cache_dir=cache)
    said = capsys.readouterr().out
    assert [line[:5] for line in said.splitlines() if line.startswith("[")] == [f"[{n}/6]" for n in range(1, 7)]
    assert "author: demo" in said
    assert done.commit in said
    assert str(done.path) in said
    assert done.report.verdict.word == "safe"
    assert AutoConfig.from_pretrained(BERT, cache_dir=cache, local_files_only=True).model_type == "bert"
    assert sum(p.numel() for p in AutoModel.from_pretrained(str(done.path)).parameters()) > 0
    assert hf_hub_download(BERT, "model.safetensors", cache_dir=cache, local_files_only=True).startswith(str(done.path))
    assert not scan_cache_dir(cache).warnings
    assert events() == ["download.accepted", "download.promoted"]
    with requests(hub.store) as seen:
        assert download(BERT, cache).fetched == 0
        assert not [s for s in seen() if "/resolve/" in s["path"]]


def test_sha256sum_reads_the_checksums(hub: Hub, cache: Path, tmp_path: Path) -> None:
    offer(hub.store, BERT)
    done = download(BERT, cache)
    for path, record in ((done.path, done.checksums), *[(d.path, d.checksums) for d in
                          [download(BERT, cache, to=tmp_path / "out")]]):  # fmt: skip
        assert path is not None
        assert record is not None
        checked = subprocess.run(["sha256sum", "-c", record], cwd=path, capture_output=True, text=True, check=True)
        assert checked.stdout.count(": OK") == 5
    assert os.stat(os.path.dirname(str(done.checksums))).st_mode & 0o077 == 0
    Path(tmp_path / "out" / "config.json").write_text("{}")
    assert subprocess.run(["sha256sum", "-c", "--status", "checksums.sha256"], cwd=tmp_path / "out").returncode == 1


def test_odd_names_are_escaped_as_sha256sum_does(tmp_path: Path) -> None:
    names = ["plain", "two  blanks", "back\\slash", "line\nfeed", "-dash", "ü"]
    lines = []
    for name in names:
        (tmp_path / name).write_text(name)
        made = subprocess.run(
            ["sha256sum", "--", name], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        digest = made.lstrip("\\")[:64]
        assert manifest_line(name, digest) == made
        lines.append((name, digest))
    assert checksums.text(lines[:1], before=checksums.text(lines)) == checksums.text(lines)


def test_a_dry_run_writes_nothing(hub: Hub, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(hub.store, BERT)
    done = nbguard.download(BERT, cache_dir=cache, dry_run=True)
    assert not cache.exists()
    assert not (tmp_path / "data").exists()
    assert done.path is None
    assert "[3/6]" not in capsys.readouterr().out


def test_pickles_and_code_are_not_fetched_unasked(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/mixed", {"config.json": CONFIG, "model.safetensors": EMPTY, "pytorch_model.bin": BOMB,
                                  "extra.pkl": BOMB, "modeling.py": b"import os\nos.system('touch marker')\n",
                                  "picture.png": b"\x89PNG\r\n", "tool.so": b"\x7fELF"})  # fmt: skip
    with requests(hub.store) as seen:
        done = download("acme/mixed", cache)
    assert {row.path for row in done.files if row.fetch} == {"config.json", "model.safetensors"}
    asked = {s["path"].rpartition("/")[2] for s in seen() if "/resolve/" in s["path"]}
    assert asked == {"config.json", "model.safetensors"}
    assert {row.path: row.kind for row in done.files if not row.fetch} == {
        "pytorch_model.bin": "dangerous", "extra.pkl": "dangerous", "modeling.py": "dangerous", "tool.so": "dangerous",
        "picture.png": "to be checked"}  # fmt: skip


@pytest.mark.parametrize(("more", "accept"), [({"pickles": True}, None), ({"pickles": True}, True)])
def test_danger_is_refused_before_weights_move(hub: Hub, cache: Path, more: dict[str, Any], accept: Any) -> None:
    hub.store.push("acme/danger", {"config.json": CONFIG, "pytorch_model.bin": BOMB})
    with pytest.raises(DownloadRefused, match="harmful") as refused:
        download("acme/danger", cache, accept=accept, **more)
    assert refused.value.place is None
    assert not cache.exists()
    assert events() == ["download.refused"]


def test_a_repository_of_pickles_alone_is_refused_with_the_way_on(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/pickles", {"config.json": CONFIG, "pytorch_model.bin": pickle.dumps({})})
    with pytest.raises(DownloadRefused, match="nbguard convert acme/pickles"):
        download("acme/pickles", cache)
    assert not cache.exists()


def test_a_safe_pickle_is_fetched_when_it_is_asked_for(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/tame", {"config.json": CONFIG, "weights.pkl": pickle.dumps({"a": 1})})
    done = download("acme/tame", cache, pickles=True)
    assert "weights.pkl" in done.sha256


REVIEWED = {"config.json": CONFIG, "model.safetensors": EMPTY,
            "helper.py": b"class Model:\n    def go(self):\n        return 1\n"}  # fmt: skip


def test_code_needs_a_person(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.store.push("acme/code", REVIEWED)
    with pytest.raises(DownloadRefused):
        download("acme/code", cache, code=True)
    assert not promoted(cache)
    with pytest.raises(DownloadRefused, match="not accepted") as refused:
        download("acme/code", cache, code=True, accept=lambda report: report.verdict.word != "review")
    assert refused.value.place is not None
    assert refused.value.place in str(refused.value)
    assert not promoted(cache)
    done = download("acme/code", cache, code=True, accept=True)
    assert done.fetched == 0
    assert "helper.py" in done.sha256
    assert events() == ["download.refused", "download.refused", "download.accepted", "download.promoted"]


def test_a_person_is_asked_once(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbguard import gate

    hub.store.push("acme/asked", REVIEWED)
    asked: list[Decision] = []

    def ask(report: Any, decision: Decision, request: Any) -> gate.Answer:
        asked.append(decision)
        assert not promoted(cache)
        return gate.Answer("once", "ada", "looked at it", "terminal")

    monkeypatch.setattr(gate, "frontend", lambda: "terminal")
    monkeypatch.setattr(gate, "ask", ask)
    assert download("acme/asked", cache, code=True).path
    assert [d.action for d in asked] == ["ask"]
    assert [e.get("who") for e in AuditLog().entries()] == ["ada", None]


def test_a_name_that_imitates_a_publisher_stops_at_the_first_step(hub: Hub, cache: Path) -> None:
    hub.store.push("meta-Ilama/Llama-3.1-8B", {"config.json": CONFIG, "model.safetensors": EMPTY})
    said: list[str] = []
    with pytest.raises(DownloadRefused):
        nbguard.download("meta-Ilama/Llama-3.1-8B", cache_dir=cache, say=said.append)
    assert not any(line.startswith("[2/6]") for line in said)
    told = next(line for line in said if "CRITICAL" in line)
    assert said.index(told) == 1
    assert "Did you mean meta-llama/Llama-3.1-8B?" in told
    with pytest.raises(DownloadRefused, match="made to be taken for another one's") as refused:
        download("meta-Ilama/Llama-3.1-8B", cache, accept=True)
    assert "objects or code" not in str(refused.value)
    done = download("meta-Ilama/Llama-3.1-8B", cache, accept=lambda report: True)
    assert done.report.verdict.word == "review"
    assert events() == [
        "download.refused", "download.refused", "download.name-accepted", "download.accepted", "download.promoted"
    ]  # fmt: skip


def test_a_person_or_an_approval_may_accept_such_a_name(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbguard import gate
    from nbguard.commands import actions

    name = "meta-Ilama/Llama-3.2-1B"
    hub.store.push(name, {"config.json": CONFIG, "model.safetensors": EMPTY})
    asked: list[Decision] = []

    def ask(report: Any, decision: Decision, request: Any) -> gate.Answer:
        asked.append(decision)
        return gate.Answer("once", "ada", "meant it", "terminal")

    with monkeypatch.context() as patched:
        patched.setattr(gate, "frontend", lambda: "terminal")
        patched.setattr(gate, "ask", ask)
        assert download(name, cache, accept=True).path
    assert len(asked) == 1
    actions.approve(f"hf://{name}", reason="looked at it", accept_danger=True)
    assert download(name, cache).path
    hub.store.push(name, {"config.json": CONFIG + b" ", "model.safetensors": EMPTY})
    with pytest.raises(DownloadRefused, match="made to be taken"):
        download(name, cache, accept=True)


def test_what_cannot_be_read_is_never_promoted(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/broken", {"config.json": CONFIG, "model.safetensors": b"\xff" * 40})
    with pytest.raises(DownloadRefused, match="could not be read"):
        download("acme/broken", cache, accept=True)
    assert not promoted(cache)


def test_other_bytes_after_the_first_look_are_not_promoted(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/later", {"config.json": CONFIG, "model.safetensors": EMPTY})
    with misbehaving(hub.store, "model.safetensors", "bytes", after=1), pytest.raises(QuarantineError) as stopped:
        download("acme/later", cache)
    assert stopped.value.place in str(stopped.value)
    assert not promoted(cache)
    assert events() == ["download.failed"]


def test_a_file_that_is_changed_while_a_person_thinks_is_not_promoted(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard import gate

    hub.store.push("acme/thinking", REVIEWED)

    def ask(report: Any, decision: Decision, request: Any) -> gate.Answer:
        for place in cache.rglob("blobs/*"):
            if place.read_bytes() == REVIEWED["helper.py"]:
                place.write_bytes(b"import os; os.system('touch marker')\n")
        return gate.Answer("once", "ada", "", "terminal")

    monkeypatch.setattr(gate, "frontend", lambda: "terminal")
    monkeypatch.setattr(gate, "ask", ask)
    with pytest.raises(QuarantineError, match="was changed"):
        download("acme/thinking", cache, code=True)
    assert not promoted(cache)


def test_globs_narrow_and_name_what_is_fetched() -> None:
    sizes = dict.fromkeys(
        ["a.safetensors", "b.safetensors", "x.gguf", "p.bin", "m.py", "i.png", "LICENSE", "merges"], 1
    )

    def names(**more: Any) -> set[str]:
        return {row.path for row in pick(sizes, **more) if row.fetch}

    assert names() == {"a.safetensors", "b.safetensors", "LICENSE", "merges"}
    assert names(include=["a.*", "*.png", "*.gguf"]) == {"a.safetensors", "i.png", "x.gguf"}
    assert names(include=["*"]) == set(sizes) - {"p.bin", "m.py"}
    assert names(exclude=["b.*"]) == {"a.safetensors", "LICENSE", "merges"}
    assert names(pickles=True, code=True) == set(sizes) - {"i.png"}
    sizes |= {".git/config": 1, "x/.vscode/tasks.json": 1}
    assert not names(include=["*"], pickles=True, code=True) & {".git/config", "x/.vscode/tasks.json"}


def test_hidden_files_come_only_by_name() -> None:
    hidden = (".pre-commit-config.yaml", "sub/.yarnrc.yml", ".x.py", ".x.pkl")
    sizes = dict.fromkeys((*hidden, "config.json"), 1)
    assert [row.path for row in pick(sizes) if row.fetch] == ["config.json"]
    assert [row.path for row in pick(sizes, include=[".*"]) if row.fetch] == [".pre-commit-config.yaml"]


def test_a_folder_takes_plain_files(hub: Hub, cache: Path, tmp_path: Path) -> None:
    offer(hub.store, BERT)
    done = download(f"{BERT}@main", cache, to=tmp_path / "out")
    assert done.path == str(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md", "checksums.sha256", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip
    assert not any(p.is_symlink() for p in (tmp_path / "out").iterdir())
    assert not promoted(cache)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "data", "out"]


def test_checksums_that_lie_in_the_folder_are_kept(hub: Hub, cache: Path, tmp_path: Path) -> None:
    hub.store.push("acme/one", {"config.json": CONFIG, "model.safetensors": EMPTY})
    record = tmp_path / "out" / "checksums.sha256"
    record.parent.mkdir()
    mine = manifest_line("mine.txt", "0" * 64)
    record.write_text(manifest_line("config.json", "1" * 64) + mine)
    download("acme/one", cache, to=tmp_path / "out")
    assert mine in record.read_text()
    assert "1" * 64 not in record.read_text()
    assert len(record.read_text().splitlines()) == 3
    for other in ("# my notes\n" + mine, '{"mine.txt": "' + "0" * 64 + '"}', "", "my diary\n", f"{'0' * 64} *mine\n"):
        record.write_text(other)
        with pytest.raises(TargetError, match="is not replaced"):
            download("acme/one", cache, to=tmp_path / "out")
        assert record.read_text() == other


def test_a_repository_with_checksums_of_its_own_keeps_them(hub: Hub, cache: Path, tmp_path: Path) -> None:
    files = {"config.json": CONFIG, "model.safetensors": EMPTY, "checksums.sha256": b"x"}
    hub.store.push("acme/sums", files)
    done = download("acme/sums", cache, to=tmp_path / "out", include=["*"])
    assert Path(str(done.checksums)).name == "nbguard-checksums.sha256"
    assert (tmp_path / "out" / "checksums.sha256").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["no such thing", "../x", "acme/nothing-there", "acme/sums@nowhere"])
def test_what_is_not_there_is_one_sentence(hub: Hub, cache: Path, name: str) -> None:
    with pytest.raises(TargetError) as error:
        download(name, cache)
    assert "\n" not in str(error.value)
    assert not cache.exists()


def run(*words: str) -> int:
    return cli.main(["download", *words])


def test_the_command_says_its_exit_codes(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(hub.store, BERT)
    hub.store.push("acme/danger2", {"config.json": CONFIG, "pytorch_model.bin": BOMB})
    assert run(BERT, "--to", str(tmp_path / "m"), "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(tmp_path / "m")
    assert {f["path"] for f in found["files"] if f["sha256"]} >= {"config.json", "model.safetensors"}
    assert run("acme/danger2", "--pickles", "--yes", "--format", "json") == 1
    refused = json.loads(capsys.readouterr().out)
    assert refused["report"]["verdict"] == "danger"
    assert run("acme/danger2", "--pickles", "--dry-run") == 1
    assert run("acme/not-there") == 2
    assert capsys.readouterr().err.count("nbguard: ") == 1


def test_an_interrupt_is_one_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(hub.store, BERT)

    real = fetching.fetch

    def stopped(*given: Any, **more: Any) -> None:
        real(*given, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr("nbguard.artifact.fetching.fetch", stopped)
    assert run(BERT, "--to", str(tmp_path / "m")) == 130
    told = capsys.readouterr().err
    assert f"kept in {tmp_path}/.nbguard-quarantine-m/models--demo--tiny-bert: trying again goes on" in told
    assert not (tmp_path / "m").exists()
    assert events() == ["download.interrupted"]


def test_the_magic_takes_the_same_options(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.error import UsageError
    from IPython.core.interactiveshell import InteractiveShell

    offer(hub.store, BERT)
    shell = InteractiveShell.instance()
    try:
        nbguard.load_ipython_extension(shell)
        shell.run_line_magic("safemodel", f"download {BERT} --to {tmp_path / 'm'}")
        assert "[6/6]" in capsys.readouterr().out
        with pytest.raises(UsageError, match="There is no repository"):
            shell.run_line_magic("safemodel", "download acme/not-there")
    finally:
        nbguard.unload_ipython_extension(shell)
        InteractiveShell.clear_instance()
    assert (tmp_path / "m" / "config.json").exists()


def test_hostile_words_reach_no_terminal(hub: Hub, cache: Path) -> None:
    info = {"tags": ["\x1b[2Jevil"], "library_name": "\x1b]0;x\x07", "likes": "\x1b[1m"}
    hub.store.push("acme/loud", {"config.json": CONFIG, "model.safetensors": EMPTY}, info=info)
    out = io.StringIO()
    nbguard.download("acme/loud", cache_dir=cache, say=lambda text: out.write(text + "\n"))
    assert "evil" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_what_is_too_large_to_be_judged_from_afar_is_judged_in_the_quarantine(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.artifact import remote_repo
    from nbguard.artifact.remote import Most

    monkeypatch.setattr(remote_repo, "WHOLE", 1 << 10)
    monkeypatch.setattr(remote_repo, "Most", lambda: Most(nbytes=70_000))
    hub.store.push("acme/large", {"config.json": CONFIG, "weights.pkl": pickle.dumps([bytes(1 << 20)])})
    hub.store.push("acme/large-bad", {"config.json": CONFIG, "weights.pkl": pickle.dumps([bytes(1 << 20), Bomb()])})
    assert "weights.pkl" in download("acme/large", cache, pickles=True).sha256
    with pytest.raises(DownloadRefused, match="harmful") as refused:
        download("acme/large-bad", cache, pickles=True, accept=True)
    assert refused.value.place is not None
    assert not [p for p in promoted(cache) if "large-bad" in p]


@pytest.mark.parametrize("status", [429, 503, 404, 403])
def test_a_server_that_does_not_answer_is_no_refusal(hub: Hub, cache: Path, status: int) -> None:
    hub.store.push("acme/storm2", {"config.json": CONFIG, "model.safetensors": EMPTY})
    with misbehaving(hub.store, "model.safetensors", "status", status=status), pytest.raises(TargetError):
        download("acme/storm2", cache)
    assert not cache.exists()
    assert events() == ["download.failed"]


def test_a_model_whose_code_is_not_fetched_is_judged_without_it(hub: Hub, cache: Path) -> None:
    auto_map = b'{"model_type": "x", "auto_map": {"AutoModel": "helper.Model", "AutoConfig": "other/repo--conf.C"}}'
    hub.store.push("acme/uncoded", {**REVIEWED, "config.json": auto_map})
    assert download("acme/uncoded", cache).report.verdict.word == "safe"
    with pytest.raises(DownloadRefused, match="another repository"):
        download("acme/uncoded", cache, code=True, accept=True)


def test_an_approval_lets_exactly_this_through(hub: Hub, cache: Path, tmp_path: Path) -> None:
    from nbguard.commands import actions

    code = b"class Model:\n    def go(self):\n        return 1\n"
    named = {"config.json": b'{"model_type": "x", "auto_map": {"AutoModel": "helper.Model"}}', "helper.py": code}
    hub.store.push("acme/approved", {**REVIEWED, **named})
    with pytest.raises(DownloadRefused):
        download("acme/approved", cache, code=True)
    actions.approve("hf://acme/approved", reason="looked at it")
    assert download("acme/approved", cache, code=True).path
    hub.store.push("acme/approved", {**REVIEWED, **named, "helper.py": code.replace(b"1", b"2")})
    with pytest.raises(DownloadRefused):
        download("acme/approved", cache, code=True)


def test_danger_goes_through_by_an_approval_that_the_policy_counts_alone(hub: Hub, cache: Path) -> None:
    from nbguard import policy
    from nbguard.commands import actions

    hub.store.push("acme/known-danger", {"config.json": CONFIG, "pytorch_model.bin": BOMB})
    with pytest.raises(DownloadRefused):
        download("acme/known-danger", cache, pickles=True, accept=True)
    actions.approve("hf://acme/known-danger", reason="a sample for our scanner", accept_danger=True)
    assert policy.current().danger_stored
    assert download("acme/known-danger", cache, pickles=True).path
    hub.store.push("acme/known-danger", {"config.json": CONFIG, "pytorch_model.bin": BOMB.replace(b"touch", b"toucH")})
    with pytest.raises(DownloadRefused) as refused:
        download("acme/known-danger", cache, pickles=True, accept=True)
    assert refused.value.place is not None


def test_papers_alone_are_safe(hub: Hub, cache: Path) -> None:
    files = {"config.json": CONFIG, "README.md": b"# A model\n", "model.safetensors": EMPTY}
    hub.store.push("acme/papers", files)
    done = download("acme/papers", cache, include=["*.md"])
    assert list(done.sha256) == ["README.md"]
    assert done.report.verdict.word == "safe"
    hub.store.push("acme/papers", {**files, "README.md": BOMB})
    with pytest.raises(DownloadRefused):
        download("acme/papers", cache, include=["*.md"], accept=True)


def test_nobody_is_sent_to_convert_what_is_dangerous(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/danger3", {"config.json": CONFIG, "pytorch_model.bin": BOMB})
    with pytest.raises(DownloadRefused, match="Do not load them") as refused:
        download("acme/danger3", cache)
    said = str(refused.value)
    assert "convert" not in said
    assert "--pickles" not in said
    assert not cache.exists()


def test_a_refusal_for_want_of_a_person_names_both_ways_on(hub: Hub, cache: Path) -> None:
    hub.store.push("acme/ways", REVIEWED)
    with pytest.raises(DownloadRefused) as refused:
        download("acme/ways", cache, code=True)
    said = str(refused.value)
    assert "nbguard approve" in said
    assert "--yes" in said
    assert "\n Nothing" not in said
    assert {row.path: row.kind for row in download("acme/ways", cache, dry_run=True).files} == {
        row.path: row.kind for row in download("acme/ways", cache, dry_run=True, code=True).files
    }


def test_what_was_here_already_is_said(hub: Hub, cache: Path) -> None:
    offer(hub.store, BERT)
    said: list[str] = []
    for _ in range(2):
        said.clear()
        nbguard.download(BERT, cache_dir=cache, say=said.append)
    assert any("all was here already" in line for line in said)
    assert not any("0.0 MB" in line for line in said)


def test_a_dry_run_does_not_count_what_is_only_too_large(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbguard.artifact import remote_repo
    from nbguard.artifact.remote import Most

    monkeypatch.setattr(remote_repo, "WHOLE", 1 << 10)
    monkeypatch.setattr(remote_repo, "Most", lambda: Most(nbytes=70_000))
    hub.store.push("acme/large2", {"config.json": CONFIG, "weights.pkl": pickle.dumps([bytes(1 << 20)])})
    assert run("acme/large2", "--pickles", "--dry-run") == 0
