"""A Hub that answers on this machine alone: what huggingface_hub and transformers ask of the real one.

    server = Server(Store(Path("hub")))
    server.serve_in_thread()
    print(server.address)          # http://127.0.0.1:40123
    server.close()

It reads, lists and serves (ranges too); nothing can be uploaded. The routes and headers are those that huggingface_hub
1.x and 2.x use, `X-Error-Code` included, because the client tells a missing file from a missing repository by it.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_hub.faults import Faults
from loopback_hub.store import Entry, Store

WHEN = "2026-01-01T00:00:00.000Z"
MODEL = re.compile(r"/api/models/([^/]+/[^/]+?)(?:/(revision|tree|refs|commits|discussions)(?:/(.+))?)?")
PATHS_INFO = re.compile(r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/(?:resolve|raw)/([^/]+)/(.+)")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
MAX_BODY = 1 << 20
COMMITS = 50
"""On one page."""


class Server(ThreadingHTTPServer):
    """Bound to 127.0.0.1; port 0 takes a free one. `bound` is a socket that is already bound, instead."""

    daemon_threads = True

    def __init__(self, store: Store, port: int = 0, *, bound: socket.socket | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler, bind_and_activate=bound is None)
        self.store = store
        self.faults = Faults(store)
        if bound is not None:
            self.socket.close()
            self.socket = bound
            self.server_address = bound.getsockname()
            self.server_activate()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def serve_in_thread(self) -> None:
        threading.Thread(target=self.serve_forever, name="loopback-hub", daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no news."""


DATASET = "dataset--"
"""In front of a name in the store: a repository of data, which the Hub serves below `/datasets/`."""


def _of_datasets(path: str) -> str:
    """The path under which a repository of data is kept here."""
    for start, instead in (("/api/datasets/", "/api/models/"), ("/datasets/", "/")):
        if path.startswith(start):
            return f"{instead}{DATASET}{path.removeprefix(start)}"
    return path


class _Refused(Exception):  # noqa: N818 - an answer, not an error of the server
    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, **headers}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    routes: ClassVar[tuple[tuple[re.Pattern[str], str], ...]] = (
        (re.compile(r"/api/(organizations|users)/([^/]+)/overview"), "owner"),
        (MODEL, "model"),
        (RESOLVE, "resolve"),
    )

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the notebook's own output is what counts."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.fault: dict[str, Any] = {}
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        path = _of_datasets(unquote(parts.path))
        try:
            for pattern, name in self.routes:
                if match := pattern.fullmatch(path):
                    getattr(self, f"answer_{name}")(*match.groups())
                    return
            self.reply(404, {"error": "no such route"})
        except _Refused as refused:
            self.reply(refused.status, {"error": str(refused)}, refused.headers)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.reply(413, {"error": "too long"})
            return
        raw = self.rfile.read(length)
        match = PATHS_INFO.fullmatch(unquote(urlsplit(self.path).path))
        if not match:
            self.reply(404, {"error": "no such route"})
            return
        try:
            self.follow(match[1])
            commit = self.commit(match[1], match[2])
            try:
                wanted = set(json.loads(raw)["paths"])
            except ValueError:
                wanted = set(parse_qs(raw.decode("utf-8", "replace")).get("paths", []))
            entries = [e for e in self.server.store.entries(match[1], commit) if e.path in wanted]
            told = self.server.store.info(match[1]).get("files", {})
            self.reply(200, [{**self.describe(e, commit, expand=True), **told.get(e.path, {})} for e in entries])
        except _Refused as refused:
            self.reply(refused.status, {"error": str(refused)}, refused.headers)

    # what is asked for

    def commit(self, repo_id: str, revision: str) -> str:
        try:
            commit = self.server.store.resolve(repo_id, revision)
        except KeyError:
            raise _Refused(404, "RepoNotFound", "Repository not found") from None
        if commit is None:
            raise _Refused(404, "RevisionNotFound", "Invalid rev id")
        return commit

    def follow(self, repo_id: str) -> None:
        """A repository that was renamed is found under its new name, as the Hub says by a redirect."""
        to = self.server.store.renamed(repo_id)
        if to is not None:
            raise _Refused(307, "", "Temporary Redirect", Location=self.path.replace(f"/{repo_id}", f"/{to}", 1))

    def answer_owner(self, kind: str, name: str) -> None:
        fault = self.server.faults.of(f"{kind}/{name}/overview")
        if fault.get("kind") == "status":
            raise _Refused(fault["status"], "Fault", "A fault that was switched on.")
        known, overview = self.server.store.owner(name)
        if kind != f"{known}s":
            raise _Refused(404, "", "This page does not exist")
        body = (fault["text"] * fault["copies"]).encode() if fault.get("kind") == "text" else b""
        if known == "user":
            overview = {"user": overview.pop("name"), **overview}
        self.reply(200, overview, body=body, pause=fault.get("pause", 0.0))

    def answer_model(self, repo_id: str, kind: str | None, rest: str | None) -> None:
        revision, _, below = (rest or "main").partition("/") if kind == "tree" else (rest or "main", "", "")
        self.follow(repo_id)
        commit = self.commit(repo_id, "main" if kind in ("refs", "discussions") else revision)
        store = self.server.store
        if kind == "refs":
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": target}
                for name, target in store.refs(repo_id).items()
            ]
            self.reply(200, {"branches": branches, "tags": [], "converts": []})
        elif kind == "discussions":
            self.reply(200, {"discussions": [], "count": 0, "start": 0})
        elif kind == "commits":
            self.send_commits(repo_id, revision, commit)
        elif kind == "tree":
            entries = [e for e in store.entries(repo_id, commit) if not below or e.path.startswith(f"{below}/")]
            self.reply(200, [self.describe(e, commit, expand="expand" in self.query) for e in entries])
        else:
            self.reply(200, self.card(repo_id, commit))

    def send_commits(self, repo_id: str, revision: str, commit: str) -> None:
        """A page of commits, the newest first, and where the next one is."""
        store = self.server.store
        branches = [store.history(repo_id, revision), *(store.history(repo_id, b) for b in store.refs(repo_id))]
        line = next((b[: b.index(commit) + 1] for b in branches if commit in b), [commit])[::-1]
        page = int(self.query.get("p", ["0"])[0])
        shown = line[page * COMMITS : (page + 1) * COMMITS]
        author = [{"user": repo_id.split("/")[0]}]
        entries = [{"id": c, "title": "commit", "message": "", "date": WHEN, "authors": author} for c in shown]
        more = {}
        if (page + 1) * COMMITS < len(line):
            where = f"{self.server.address}{urlsplit(self.path).path}?p={page + 1}"
            more = {"Link": f'<{where}>; rel="next"'}
        self.reply(200, entries, more)

    def answer_resolve(self, repo_id: str, revision: str, name: str) -> None:
        self.follow(repo_id)
        commit = self.commit(repo_id, revision)
        self.fault = self.server.faults.of(f"{repo_id}/{name}")
        if self.fault.get("kind") == "status":
            raise _Refused(self.fault["status"], "Fault", "A fault that was switched on.")
        if self.fault.get("kind") == "redirect":
            to = {"Location": self.fault["to"], "X-Repo-Commit": commit}
            raise _Refused(302, "Fault", "Elsewhere", **to)
        if self.server.store.info(repo_id).get("gated"):
            raise _Refused(403, "GatedRepo", f"Access to model {repo_id} is restricted.")
        place = self.server.store.path(repo_id, commit, name)
        if place is None:
            raise _Refused(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
        entry = next(e for e in self.server.store.entries(repo_id, commit) if e.path == name)
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{entry.etag}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if entry.lfs:
            headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
        if self.fault.get("kind") == "etag":
            small, large = self.fault.get("tag", "0" * 40), self.fault.get("tag", "0" * 64)
            headers |= {"ETag": f'"{small}"', **({"X-Linked-Etag": f'"{large}"'} if entry.lfs else {})}
        if self.fault.get("kind") == "commit":
            headers["X-Repo-Commit"] = "0" * 40
        self.send_file(place, entry.size, headers)

    # answers

    def card(self, repo_id: str, commit: str) -> dict[str, Any]:
        blobs = "blobs" in self.query
        siblings: list[dict[str, Any]] = []
        for entry in self.server.store.entries(repo_id, commit):
            sibling: dict[str, Any] = {"rfilename": entry.path}
            if blobs:
                sibling |= {"size": entry.size, "blobId": entry.oid}
                if entry.lfs:
                    sibling["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 134}
            siblings.append(sibling)
        out: dict[str, Any] = {
            "_id": hashlib.sha1(repo_id.encode()).hexdigest()[:24],
            "id": repo_id,
            "modelId": repo_id,
            "author": repo_id.split("/")[0],
            "sha": commit,
            "siblings": siblings,
            "private": False,
            "gated": False,
            "disabled": False,
            "lastModified": WHEN,
            "createdAt": WHEN,
            "tags": ["transformers"],
            "library_name": "transformers",
            "downloads": 1,
            "likes": 0,
        }
        if "securityStatus" in self.query:
            out["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
        told = self.server.store.info(repo_id)
        told.pop("files", None)
        if "securityStatus" not in self.query:
            told.pop("securityRepoStatus", None)
        return {**out, **told}

    def describe(self, entry: Entry, commit: str, *, expand: bool) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "file", "path": entry.path, "size": entry.size, "oid": entry.oid}
        if entry.lfs:
            out["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}
        if expand:
            out["lastCommit"] = {"id": commit, "title": "commit", "date": WHEN}
            out["securityFileStatus"] = {"status": "unscanned", "avScan": None, "pickleImportScan": None}
        return out

    def send_file(self, place: Path, size: int, headers: dict[str, str]) -> None:
        start, stop, status = 0, size, 200
        kind = self.fault.get("kind", "")
        claimed = size + 1 if kind == "length" else size
        if kind == "length" and "X-Linked-Size" in headers:
            headers["X-Linked-Size"] = str(claimed)
        if kind != "whole" and self.command != "HEAD" and (asked := RANGE.fullmatch(self.headers.get("Range") or "")):
            first, last = asked.groups()
            start = int(first) if first else max(0, size - int(last or 0))
            stop = min(size, int(last) + 1) if first and last else size
            if start >= stop:
                self.reply(416, {"error": "range"}, {"Content-Range": f"bytes */{size}"})
                return
            status = 206
            if kind == "shifted":
                start, stop = start + 1, min(size, stop + 1)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{claimed}"
        self.send_response(status)
        length = stop - start + (kind == "length" and status == 200) + 16 * (kind == "more")
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            self.note(status, 0)
            return
        self.note(status, stop - start)
        with place.open("rb") as file:
            file.seek(start)
            while start < stop and (chunk := file.read(min(1 << 20, stop - start))):
                start += len(chunk)
                self.send_piece(chunk, kind)
        if kind == "more":
            self.wfile.write(b"more" * 4)

    def send_piece(self, chunk: bytes, kind: str) -> None:
        """A piece of a file, or what a fault makes of it."""
        if kind == "bytes":
            chunk = bytes(b ^ 0x55 for b in chunk)
        if kind == "cut":
            self.wfile.write(chunk[: len(chunk) // 2])
            self.close_connection = True
            raise ConnectionAbortedError("a fault that was switched on")
        if kind == "slow":
            for at in range(len(chunk)):
                self.wfile.write(chunk[at : at + 1])
                self.wfile.flush()
                time.sleep(self.fault["pause"])
            return
        self.wfile.write(chunk)

    def note(self, status: int, sent: int) -> None:
        self.server.faults.log(
            {
                "method": self.command,
                "path": unquote(urlsplit(self.path).path),
                "range": self.headers.get("Range"),
                "status": status,
                "sent": sent,
            }
        )

    def reply(
        self,
        status: int,
        value: object,
        headers: dict[str, str] | None = None,
        *,
        body: bytes = b"",
        pause: float = 0.0,
    ) -> None:
        """JSON, or `body` in its place; a byte at a time with a pause between."""
        body = body or json.dumps(value).encode()
        self.note(status, len(body))
        self.send_response(status)
        everything = {**(headers or {}), "Content-Length": str(len(body)), "Content-Type": "application/json"}
        for name, text in everything.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD" and not pause:
            self.wfile.write(body)
        for at in range(len(body) if pause else 0):
            self.wfile.write(body[at : at + 1])
            time.sleep(pause)
