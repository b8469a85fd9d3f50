"""What a Hub says beside the files: who the owner is, what its own scanners found, how the history goes.

    listing.hub.start()                  # asks for the owner in the background
    listing.hub.overview()               # JSON of the owner's overview, or None: not said
    listing.hub.files()                  # what the Hub's scanners say of files with issues
    listing.hub.history("main").root     # the first commit, where the history is short enough to be read

It goes through huggingface_hub's own client. Nothing here is needed for a load: whatever fails, is too slow or too long
or makes no sense counts as not said. Every answer is hostile, and only kept as JSON for `nbguard.provenance` to judge.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

SECONDS = 3.0
"""That anything here may hold a person up."""
LONGEST = 64 << 10
"""Bytes of one overview."""
LONGEST_PAGE = 1 << 20
"""Bytes of one page of commits, or of what the scanners say of files."""
MOST_PAGES = 4
"""Of commits; the Hub puts 50 on a page. The first commit of a longer history is not said."""
MOST_FILES = 50
"""Files with issues that are asked about one by one."""
KEPT = 600.0
"""Seconds for which an owner is not asked about again."""
KEPT_FAILURE = 60.0
MOST_KEPT = 256

_OWNER = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class History:
    """The commits of a branch, the newest first, as far as they were read."""

    commits: tuple[str, ...] = ()
    root: str = ""
    """The first commit; empty where the history was not read to its end."""


@dataclass
class _Later:
    """An answer that is waited for until `deadline`."""

    deadline: float
    done: threading.Event = field(default_factory=threading.Event)
    answer: Any = None
    requests: int = 0
    nbytes: int = 0
    ended: float = 0.0
    pid: int = 0


@dataclass(eq=False)
class HubSaid:
    """One repository: the Hub's answer to the listing, and what else can be asked about it."""

    info: Any
    """huggingface_hub's `ModelInfo` or `DatasetInfo`."""
    requested: str
    """The name that was asked for; the Hub may have answered with another (`repo_id`)."""
    repo_id: str
    repo_type: str = "model"
    token: str | bool | None = None
    requests: int = 0
    """Made for this repository beyond the listing."""
    nbytes: int = 0
    _files: tuple[Any, ...] | None = None
    _history: History | None = None
    _counted: bool = False
    _shared: _Later | None = None
    _mine: bool = False

    @property
    def owner(self) -> str:
        """Whose the repository is, by its name; empty where that is no name."""
        owner, slash, _ = self.repo_id.rpartition("/")
        return owner if slash and _OWNER.fullmatch(owner) else ""

    def start(self) -> None:
        """Begin to ask for the owner, unless somebody did a short while ago."""
        if self.owner and self._shared is None:
            self._shared, self._mine = _owner_of(self.owner, self.token)

    def overview(self) -> Any:
        """The owner's overview as JSON, waited for at most `SECONDS` from when it was asked for; None: not said."""
        self.start()
        later = self._shared
        if later is None:
            return None
        done = later.done.wait(max(0.0, later.deadline - time.monotonic()))
        if self._mine and not self._counted:
            self._counted = True
            self.requests += later.requests
            self.nbytes += later.nbytes
        return later.answer if done else None

    def files(self) -> tuple[Any, ...]:
        """What the Hub's scanners say of the files in which they found something; asked for only where they did."""
        if self._files is None:
            wanted = _with_issues(self.info)
            commit = getattr(self.info, "sha", "")
            self._files = ()
            if wanted and isinstance(commit, str) and _COMMIT.fullmatch(commit):
                path = f"/api/{self.repo_type}s/{self.repo_id}/paths-info/{commit}"
                found = self._in_time(lambda ask: ask("POST", path, data={"paths": wanted, "expand": True}))
                if isinstance(found, list):
                    self._files = tuple(found[: len(wanted)])
        return self._files

    def history(self, commit: str) -> History:
        """The commits that lead to `commit`, as far as `MOST_PAGES` go."""
        if self._history is None:
            first = f"/api/{self.repo_type}s/{self.repo_id}/commits/{quote(commit, safe='')}"
            found = self._in_time(lambda ask: _commits(ask, first))
            self._history = found if isinstance(found, History) else History()
        return self._history

    def _in_time(self, work: Callable[[_Ask], Any]) -> Any:
        later = _begin(work, self.token)
        done = later.done.wait(SECONDS)
        self.requests += later.requests
        self.nbytes += later.nbytes
        return later.answer if done else None


def said(info: Any, requested: str, repo_type: str, token: str | bool | None) -> HubSaid:
    """What the Hub answered when `requested` (without `datasets/`) was listed."""
    from nbguard.artifact.hub_listing import is_repo_id

    answered = getattr(info, "id", None)
    known = isinstance(answered, str) and is_repo_id(answered)
    return HubSaid(info, requested, str(answered) if known else requested, repo_type, token)


def _with_issues(info: Any) -> list[str]:
    """Files that the Hub's scanners found something in, by the status of the repository."""
    status = getattr(info, "security_repo_status", None)
    listed = status.get("filesWithIssues") if isinstance(status, dict) else None
    found: list[str] = []
    for entry in listed[:MOST_FILES] if isinstance(listed, list) else ():
        path = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and 0 < len(path) <= 1_024:
            found.append(path)
    return found


def _commits(ask: _Ask, path: str) -> History:
    commits: list[str] = []
    for _ in range(MOST_PAGES):
        page = ask("GET", path, most=LONGEST_PAGE)
        if not isinstance(page, list) or not page:
            return History(tuple(commits))
        found = [entry.get("id") for entry in page if isinstance(entry, dict)]
        if len(found) != len(page) or not all(isinstance(c, str) and _COMMIT.fullmatch(c) for c in found):
            return History(tuple(commits))
        commits += [str(c) for c in found]
        if not ask.following:
            return History(tuple(commits), commits[-1])
        path = ask.following
    return History(tuple(commits))


# --- owners, each asked about once in a while -------------------------------------------------------------------------

_owners: dict[tuple[str, str, str], _Later] = {}
_lock = threading.Lock()


def forget() -> None:
    """Ask about every owner again."""
    with _lock:
        _owners.clear()


def _owner_of(owner: str, token: str | bool | None) -> tuple[_Later, bool]:
    """The answer about an owner, and whether it was asked for just now."""
    import os

    from huggingface_hub import constants

    key = (constants.ENDPOINT, owner.lower(), str(hash(token)))
    with _lock:
        later = _owners.get(key)
        if later is not None and later.pid == os.getpid() and not _stale(later):
            return later, False
        while len(_owners) >= MOST_KEPT:
            _owners.pop(next(iter(_owners)))
        later = _owners[key] = _begin(lambda ask: _overview(ask, owner), token)
        later.pid = os.getpid()  # the thread that asks does not follow into a fork
        return later, True


def _stale(later: _Later) -> bool:
    now = time.monotonic()
    if not later.done.is_set():
        return now > later.deadline + KEPT_FAILURE
    return now - later.ended > (KEPT if later.answer is not None else KEPT_FAILURE)


def _overview(ask: _Ask, owner: str) -> Any:
    """Of the organisation of that name, else of the person; only one that bears the name."""
    for kind in ("organizations", "users"):
        found = ask("GET", f"/api/{kind}/{owner}/overview", most=LONGEST)
        if found is None and ask.status == 404:
            continue
        if not isinstance(found, dict):
            return None
        named = found.get("user") or found.get("username") if kind == "users" else found.get("name")
        if not isinstance(named, str) or named.lower() != owner.lower():
            return None
        if kind == "users":
            return {**found, "username": named}
        return {key: value for key, value in found.items() if key not in ("user", "username")}
    return None


# --- asking -----------------------------------------------------------------------------------------------------------


def _begin(work: Callable[[_Ask], Any], token: str | bool | None) -> _Later:
    """`work` in a thread of its own: no time-out of a client ends an answer that comes a byte at a time."""
    later = _Later(time.monotonic() + SECONDS)

    def run() -> None:
        try:
            later.answer = work(_Ask(later, token))
        except Exception:  # noqa: BLE001 - whatever goes wrong here, it is not said
            later.answer = None
        later.ended = time.monotonic()
        later.done.set()

    threading.Thread(target=run, name="nbguard-hub-facts", daemon=True).start()
    return later


class _Ask:
    """Asks the Hub that is set for JSON, until the deadline. Redirects are not followed.

    Attributes:
        status: of the last answer.
        following: path of the page after the last answer; empty where there is none.
    """

    def __init__(self, later: _Later, token: str | bool | None) -> None:
        self.later, self.token = later, token
        self.status = 0
        self.following = ""

    def __call__(self, method: str, path: str, *, most: int = LONGEST_PAGE, **sent: Any) -> Any:
        """The JSON of one answer; None where there is none."""
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import build_hf_headers

        self.status, self.following = 0, ""
        left = self.later.deadline - time.monotonic()
        if left <= 0:
            return None
        url = constants.ENDPOINT + path
        headers = {**build_hf_headers(token=self.token), "Accept-Encoding": "identity"}
        self.later.requests += 1
        data = bytearray()
        with get_session().stream(
            method, url, headers=headers, follow_redirects=False, timeout=left, **sent
        ) as response:
            self.status = response.status_code
            if response.status_code != 200:
                return None
            for piece in response.iter_raw():  # as they come, so that the deadline holds
                data += piece
                self.later.nbytes += len(piece)
                if len(data) > most or time.monotonic() > self.later.deadline:
                    return None
            self.following = _same_place(url, str(response.links.get("next", {}).get("url") or ""))
        return json.loads(bytes(data))


def _same_place(url: str, following: str) -> str:
    """Path and query of the next page, where it is of the same address; empty where it is not."""
    if not following:
        return ""
    here, there = urlsplit(url), urlsplit(urljoin(url, following))
    if (here.scheme, here.netloc, here.path) != (there.scheme, there.netloc, there.path):
        raise ValueError("another place")
    from huggingface_hub import constants

    base = urlsplit(constants.ENDPOINT).path.rstrip("/")
    return f"{there.path.removeprefix(base)}?{there.query}"
