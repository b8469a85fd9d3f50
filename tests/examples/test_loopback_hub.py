"""The loopback Hub answers as huggingface_hub expects, and nothing outside its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import REPOSITORIES, Hub, Server, Store
from loopback_hub.catalogue import files_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def server(tmp_path: Path) -> Any:
    store = Store(tmp_path / "hub")
    store.push("acme/one", {"config.json": b"{}", "model.safetensors": bytes(range(256)), "below/a b.txt": b"text"})
    running = Server(store)
    running.serve_in_thread()
    yield running
    running.close()


def ask(server: Server, path: str, *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(server.address + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_lists_and_serves(server: Server) -> None:
    commit = server.store.resolve("acme/one", "main")
    status, _, body = ask(server, "/api/models/acme/one?blobs=true")
    card = json.loads(body)
    assert status == 200
    assert card["sha"] == commit
    assert {s["rfilename"] for s in card["siblings"]} == {"config.json", "model.safetensors", "below/a b.txt"}
    status, headers, body = ask(server, f"/acme/one/resolve/{commit}/below/a%20b.txt")
    assert (status, body) == (200, b"text")
    assert headers["X-Repo-Commit"] == commit
    _, _, body = ask(server, "/api/models/acme/one/tree/main/below")
    assert [e["path"] for e in json.loads(body)] == ["below/a b.txt"]


@pytest.mark.parametrize(
    ("asked", "expected"), [("bytes=0-3", [0, 1, 2, 3]), ("bytes=252-", [252, 253, 254, 255]), ("bytes=-2", [254, 255])]
)
def test_ranges(server: Server, asked: str, expected: list[int]) -> None:
    status, headers, body = ask(server, "/acme/one/resolve/main/model.safetensors", Range=asked)
    assert (status, list(body)) == (206, expected)
    assert headers["Content-Range"].endswith("/256")
    status, _, _ = ask(server, "/acme/one/resolve/main/model.safetensors", Range="bytes=999-")
    assert status == 416


def test_large_files_carry_their_digest(server: Server) -> None:
    _, headers, body = ask(server, "/acme/one/resolve/main/model.safetensors", method="HEAD")
    entry = next(e for e in server.store.entries("acme/one", str(server.store.resolve("acme/one", "main"))) if e.lfs)
    assert headers["X-Linked-Etag"] == f'"{entry.sha256}"'
    assert headers["Content-Length"] == "256"
    assert body == b""


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/models/acme/none", 404, "RepoNotFound"),
        ("/acme/one/resolve/v9/config.json", 404, "RevisionNotFound"),
        ("/acme/one/resolve/main/none.json", 404, "EntryNotFound"),
        ("/acme/one/resolve/main/%2e%2e/%2e%2e/refs.json", 404, "EntryNotFound"),
        ("/api/models/%2e%2e/%2e%2e", 404, "RepoNotFound"),
        ("/elsewhere", 404, None),
    ],
)
def test_what_is_not_there(server: Server, path: str, status: int, code: str | None) -> None:
    found, headers, _ = ask(server, path)
    assert (found, headers.get("X-Error-Code")) == (status, code)


def test_a_gated_repository(server: Server) -> None:
    server.store.push("acme/gated", {"config.json": b"{}"}, info={"gated": "auto"})
    status, headers, _ = ask(server, "/acme/gated/resolve/main/config.json")
    assert (status, headers["X-Error-Code"]) == (403, "GatedRepo")


def test_commits_stay_and_branches_move(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.push("a/b", {"x": b"1"})
    second = store.push("a/b", {"x": b"2"})
    assert store.push("a/b", {"x": b"1"}, branch="old") == first
    assert store.refs("a/b") == {"main": second, "old": first}
    assert store.read("a/b", first, "x") == b"1"
    assert store.repositories() == ["a/b"]
    for bad in ("../b", "a", "a/b/c", "a/.."):
        with pytest.raises(KeyError):
            store.push(bad, {})


def test_a_process_of_its_own_is_stopped_by_its_own_id(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub")
    with pytest.raises(OSError):  # noqa: PT011 - refused: bound, and nobody listens yet
        urllib.request.urlopen(f"{hub.address}/api/models/a/b", timeout=20)
    with hub:
        hub.store.push("a/b", {"x": b"1"})
        assert json.load(urllib.request.urlopen(f"{hub.address}/api/models/a/b", timeout=20))["id"] == "a/b"
        child = hub._process
    assert child is not None
    assert child.poll() is not None


def test_the_command_prints_its_address_and_takes_a_port(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "loopback_hub", "--root", str(tmp_path / "hub"), "--port", "0"],
        cwd=EXAMPLES, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
    ) as child:  # fmt: skip
        assert child.stdout is not None
        line = child.stdout.readline()
        assert "http://127.0.0.1:" in line
        port = line.strip().rpartition(":")[2]
        taken = subprocess.run(
            [sys.executable, "-m", "loopback_hub", "--root", str(tmp_path / "hub"), "--port", port],
            cwd=EXAMPLES, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        child.terminate()
    assert taken.returncode == 2
    assert taken.stderr.startswith(f"Cannot listen on 127.0.0.1:{port}")


def test_every_demonstration_repository_is_there_and_small() -> None:
    for repo_id in REPOSITORIES:
        files = files_of(repo_id)
        assert "config.json" in files
        assert sum(map(len, files.values())) < 1 << 20


def test_the_payloads_are_real(tmp_path: Path) -> None:
    """Unguarded, they run: otherwise the tests that see nothing run would prove nothing."""
    script = (
        "import io, sys, torch\n"
        "from loopback_hub.catalogue import files_of\n"
        "data = files_of(sys.argv[1])['pytorch_model.bin']\n"
        "torch.load(io.BytesIO(data), weights_only=False)\n"
    )
    for repo_id in ("hostile/fast-sentiment", "hostile/two-faced"):
        marker = tmp_path / repo_id.replace("/", "-")
        environment = {**os.environ, "NBGUARD_DEMO_MARKER": str(marker), "PYTHONPATH": str(EXAMPLES)}
        subprocess.run([sys.executable, "-c", script, repo_id], env=environment, check=True, timeout=120)
        assert marker.read_text() == "the payload ran\n"
