"""A repository is opened at one commit, or a sentence says why not."""

from __future__ import annotations

import contextlib
import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from loopback_hub import Hub

from nbguard.artifact import hub as artifact_hub
from nbguard.artifact.checkpoints import Selection, choose, with_variant
from nbguard.artifact.hub import list_repo, open_repo
from nbguard.artifact.hub_listing import is_repo_id
from nbguard.errors import TargetError

FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
    "pytorch_model.bin": b"never fetched",
    "README.md": b"# hello",
    "tokenizer.json": b"{}",
}


@pytest.fixture
def repo(hub: Hub) -> str:
    hub.store.push("acme/plain", FILES)
    return "acme/plain"


def names(opened: Any) -> set[str]:
    return {f.path for f in opened.files}


def test_opens_what_a_loader_would_open_at_one_commit(hub: Hub, repo: str) -> None:
    with open_repo(repo) as opened:
        assert opened.kind == "hub"
        assert opened.commit == hub.store.resolve(repo, "main")
        assert names(opened) == set(FILES) - {"pytorch_model.bin"}
        assert opened.file("config.json").read() == FILES["config.json"]  # type: ignore[union-attr]
        left = {n.path: n.why for n in opened.not_opened}
        assert "would use model.safetensors" in left["pytorch_model.bin"]
        assert opened.provenance["commit"] == opened.commit
        assert opened.provenance["publisher"] == "acme"


def test_an_older_commit_stays_what_it_was(hub: Hub) -> None:
    old = hub.store.push("acme/moving", {"config.json": b"{}", "a.json": b"1"})
    new = hub.store.push("acme/moving", {"config.json": b"{}", "a.json": b"2"})
    assert old != new
    with open_repo("acme/moving", revision=old) as opened:
        assert opened.file("a.json").read() == b"1"  # type: ignore[union-attr]
    with open_repo("acme/moving") as opened:
        assert opened.commit == new


def test_exactly_the_files_that_were_named(repo: str) -> None:
    with open_repo(repo, files=["config.json"]) as opened:
        assert names(opened) == {"config.json"}
    with pytest.raises(TargetError, match="has no file"):
        open_repo(repo, files=["other.json"])


def test_from_the_cache_without_asking_the_hub(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_repo(repo).close()
    with open_repo(repo, offline=True) as opened:
        assert "model.safetensors" in names(opened)
    with pytest.raises(TargetError, match="is not in the cache"):
        open_repo("acme/never-seen", offline=True)


@pytest.mark.parametrize(
    ("repo_id", "revision", "words"),
    [
        ("acme/nothing-here", None, "There is no repository acme/nothing-here"),
        ("acme/plain", "v9", "acme/plain has no revision 'v9'"),
        ("acme/../plain", None, "There is no folder"),
        ("acme/plain\n", None, "is not the name of a repository"),
        ("a/b/c", None, "There is no folder"),
    ],
)
def test_one_sentence_for_what_is_not_there(repo: str, repo_id: str, revision: str | None, words: str) -> None:
    with pytest.raises(TargetError) as stopped:
        open_repo(repo_id, revision=revision)
    assert words in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_gated(hub: Hub) -> None:
    hub.store.push("acme/gated", {"config.json": b"{}"}, info={"gated": "manual"})
    with pytest.raises(TargetError, match="is gated: ask for access"):
        open_repo("acme/gated")


def test_no_network(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from huggingface_hub import constants

    with socket.socket() as bound:  # bound and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(TargetError) as stopped:
            open_repo("acme/never-cached")
        assert "cannot be reached" in str(stopped.value)
        open_repo(repo).close()  # what is in the cache can still be opened, and the listing says where it is from
        assert list_repo(repo).provenance["not_asked"] == "the Hub did not answer"


@pytest.mark.parametrize(
    "name",
    ["../../.bashrc", "/etc/passwd", "a/../../b", "a\\..\\b", "a\x1b[2J", "a\u202eb", "", "a//b", "./a", "x" * 300],
)
def test_a_listing_that_names_files_it_must_not(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sibling = SimpleNamespace(rfilename=name, size=1, lfs=None)
    info = SimpleNamespace(
        sha="a" * 40,
        siblings=[sibling],
        author=None,
        last_modified=None,
        downloads=0,
        likes=0,
        library_name="",
        gated="",
    )
    monkeypatch.setattr(artifact_hub, "repository_info", lambda *a, **k: info)
    with pytest.raises(TargetError, match="nothing was fetched"):
        open_repo("acme/hostile")


def test_a_commit_that_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_hub, "repository_info", lambda *a, **k: SimpleNamespace(sha="../../x", siblings=[]))
    with pytest.raises(TargetError, match="named no commit"):
        open_repo("acme/hostile")


def test_mark_up_in_a_name_is_only_a_name(hub: Hub) -> None:
    hub.store.push("acme/loud", {"config.json": b"{}", "<img src=x onerror=alert(1)>.json": b"{}"})
    with open_repo("acme/loud") as opened:
        assert "<img src=x onerror=alert(1)>.json" in names(opened)


# the choice of files


def reader(files: dict[str, bytes]) -> Any:
    return files.get


def index(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"t{i}": s for i, s in enumerate(shards)}}).encode()


@pytest.mark.parametrize(
    ("present", "selection", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin"], Selection(), ["model.safetensors"]),
        (["model.safetensors", "pytorch_model.bin"], Selection(use_safetensors=False), ["pytorch_model.bin"]),
        (["pytorch_model.bin"], Selection(), ["pytorch_model.bin"]),
        (["pytorch_model.bin"], Selection(use_safetensors=True), []),
        (["model.safetensors", "model.fp16.safetensors"], Selection(variant="fp16"), ["model.fp16.safetensors"]),
        (["a/pytorch_model.bin", "model.safetensors"], Selection(subfolder="a"), ["a/pytorch_model.bin"]),
        (["m.gguf", "model.safetensors"], Selection(gguf_file="m.gguf"), ["m.gguf"]),
        (["adapter_config.json", "adapter_model.bin"], Selection(), ["adapter_model.bin"]),
        (["adapter_model.bin"], Selection(), []),
        (["model.safetensors"], Selection(weights=False), []),
    ],
)
def test_weights_as_transformers_would_choose(present: list[str], selection: Selection, weights: list[str]) -> None:
    assert list(choose(present, reader({}), selection).weights) == weights


def test_shards_come_from_the_index_and_only_from_the_listing() -> None:
    files = {
        "model.safetensors.index.json": index("a.safetensors", "b.safetensors"),
        "a.safetensors": b"",
        "b.safetensors": b"",
    }
    choice = choose(sorted(files), reader(files), Selection())
    assert set(choice.weights) == set(files)
    files["model.safetensors.index.json"] = index("../../elsewhere.bin")
    with pytest.raises(TargetError, match="not there"):
        choose(sorted(files), reader(files), Selection())


def test_other_repositories_are_listed() -> None:
    config = json.dumps({"auto_map": {"AutoModel": "other/code--modeling.X", "AutoTokenizer": ["a.B", None]}}).encode()
    files = {"config.json": config, "adapter_config.json": b'{"base_model_name_or_path": "base/model"}'}
    choice = choose(sorted(files), reader(files))
    assert choice.base_models == ("base/model",)
    assert choice.code_elsewhere == (("other/code", "modeling.py"),)


def test_code_is_what_the_configurations_name_and_what_that_imports() -> None:
    config = json.dumps({"auto_map": {"AutoModel": "modeling.X"}}).encode()
    modeling = b"from .layers import A\nfrom . import extra\nfrom .sub.deep import B\nimport os\n"
    files = {
        "config.json": config,
        "modeling.py": modeling,
        "layers.py": b"from .more import C",
        "more.py": b"",
        "extra.py": b"",
        "sub/deep.py": b"from ..layers import A",
        "train.py": b"",
        "custom_generate/generate.py": b"",
    }
    code = {n for n in choose(sorted(files), reader(files), Selection()).files if n.endswith(".py")}
    assert code == set(files) - {"config.json", "train.py"}
    assert not any(n.endswith(".py") for n in choose(sorted(files), reader(files), Selection(code=False)).files)
    assert "train.py" in choose(sorted(files), reader(files)).files


def test_code_of_another_repository_is_opened_with_it(hub: Hub) -> None:
    hub.store.push("other/code", {"modeling.py": b"from .layers import A", "layers.py": b"", "train.py": b""})
    config = json.dumps({"auto_map": {"AutoModel": "other/code--modeling.X"}}).encode()
    hub.store.push("acme/borrows", {"config.json": config})
    with open_repo("acme/borrows") as opened:
        assert names(opened) == {"config.json", "other/code/modeling.py", "other/code/layers.py"}
        assert opened.provenance["code from other/code"] == hub.store.resolve("other/code", "main")
    config = json.dumps({"auto_map": {"AutoModel": "other/nowhere--modeling.X"}}).encode()
    hub.store.push("acme/borrows", {"config.json": config})
    with open_repo("acme/borrows") as opened:
        assert (
            "There is no repository other/nowhere"
            in {n.path: n.why for n in opened.not_opened}["other/nowhere/modeling.py"]
        )


def test_variant_goes_where_transformers_puts_it() -> None:
    from transformers.modeling_utils import _add_variant

    for name in ("model.safetensors", "pytorch_model.bin.index.json", "model.safetensors.index.json"):
        assert with_variant(name, "fp16") == _add_variant(name, "fp16")


def test_names() -> None:
    assert is_repo_id("org/name")
    assert is_repo_id("bert-base-uncased")
    for bad in ("", "a/b/c", "-a/b", "a/b.git", "a--b/c", "a/..", "ä/b", "a/b\n", "./a", "/a/b"):
        assert not is_repo_id(bad)


def test_the_hub_serves_what_was_pushed(hub: Hub) -> None:
    commit = hub.store.push("acme/bytes", {"model.safetensors": b"x" * 1000})
    entry = hub.store.entries("acme/bytes", commit)[0]
    assert entry.lfs
    assert entry.sha256 == hashlib.sha256(b"x" * 1000).hexdigest()
    assert list_repo("acme/bytes").sha256 == {"model.safetensors": entry.sha256}


@pytest.mark.parametrize("error", [RecursionError, AttributeError, OverflowError])
def test_an_answer_that_makes_the_client_stumble_is_one_sentence(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON a hundred thousand lists deep; a number where a date belongs."""

    def stumble(**_: object) -> None:
        raise error("whatever")

    monkeypatch.setattr(artifact_hub, "repository_info", stumble)
    with pytest.raises(TargetError, match="makes no sense"):
        artifact_hub.list_repo("acme/any", remember=False)


@pytest.mark.parametrize("how", ["drip", "endless"])
def test_a_listing_is_read_neither_for_ever_nor_without_end(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from nbguard.artifact import hub_answers

    stopped = threading.Event()

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not stopped.wait(0.05 if how == "drip" else 0):
                    self.wfile.write(b" " if how == "drip" else b" " * (1 << 20))
                    self.wfile.flush()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(hub_answers, "SECONDS", 0.5 if how == "drip" else 60.0)
    monkeypatch.setattr(hub_answers, "LONGEST", 4 << 20)
    try:
        with pytest.raises(TargetError, match="makes no sense"):
            list_repo("acme/endless", remember=False)
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
