"""One range of one file from a Hub, by huggingface_hub's own client, with everything in the answer compared.

    asked = Asked("model.safetensors", 0, 65536, size=1 << 30, digest="9f86d0…", ranged=True)
    data = get(Place("org/name", commit), asked)

The client, its proxies and its certificates are huggingface_hub's; redirects are followed here, because where they lead
is part of the answer. The token goes to the Hub alone.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from nbguard.errors import TargetError

SECONDS = 20.0
"""For one answer, beyond what its bytes take at the slowest rate."""
RATE = 20_000
"""Bytes a second; a server that is slower counts as stuck."""
TICK = 0.25
"""Seconds between two calls of `Asked.tell`."""
TRIES = 4
PAUSE = 0.5
"""Seconds before the second try; each further one waits twice as long."""
MAX_PAUSE = 10.0
MAX_REDIRECTS = 3
STORAGE = (".hf.co", ".huggingface.co")
"""Where the Hub keeps large files (`cdn-lfs.hf.co`, `cas-bridge.xethub.hf.co`): the ends of these names."""
DISAGREE = "The server's answers do not agree with each other"
HUBS = (("https", "huggingface.co", 443), ("https", "hf.co", 443))
"""The Hub itself, to which mirrors send for files that they do not have."""
_AGAIN = frozenset({429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})


class Unread(ValueError):  # noqa: N818 - an answer, told to people as it is
    """These bytes cannot be had. The message is one plain sentence."""


class NoAccess(TargetError):  # noqa: N818 - an answer, told to people as it is
    """The Hub gives no access to the whole repository."""


@dataclass(frozen=True)
class Place:
    """One commit of a repository."""

    repo_id: str
    commit: str
    repo_type: str = "model"
    token: str | bool | None = None


@dataclass
class Asked:
    """What is asked for; what that took, and the digest that the server named, stand in it afterwards."""

    name: str
    start: int
    stop: int
    size: int
    digest: str = ""
    """That the Hub lists for the file, or named before: SHA-256, or git's blob id."""
    ranged: bool = True
    requests: int = 0
    nbytes: int = 0
    sink: Callable[[bytes], object] | None = None
    """Takes the bytes as they come, in a thread of its own; `start` moves on with them, over further tries too."""
    tell: Callable[[], object] | None = None
    """Called now and then while an answer is waited for, by the thread that waits."""


class _Again(Exception):  # noqa: N818 - worth another try
    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def get(place: Place, asked: Asked) -> bytes:
    """The bytes; none where a sink takes them. Raises Unread, or NoAccess where the Hub is closed to this user."""
    pause = PAUSE
    for number in range(TRIES):
        asked.requests += 1
        try:
            return _in_time(place, asked)
        except _Again as again:
            if asked.sink is not None and asked.start >= asked.stop:
                return b""  # all of it had come before the connection broke
            if number + 1 == TRIES:
                raise Unread(f"{again}, {TRIES} times in a row.") from None
            time.sleep(min(MAX_PAUSE, max(pause, again.seconds or 0.0)))
            pause *= 2
    raise AssertionError


def _in_time(place: Place, asked: Asked) -> bytes:
    """One try, in a thread of its own: no time-out of a client ends an answer that comes a byte at a time."""
    answer: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
    seconds = SECONDS + (asked.stop - asked.start) / RATE
    given_up = threading.Event()

    def work() -> None:
        try:
            answer.put(_try(place, asked, seconds, given_up))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            answer.put(error)

    threading.Thread(target=work, name="nbguard-remote", daemon=True).start()
    try:
        got = _wait(answer, asked, time.monotonic() + seconds)
    except queue.Empty:
        raise Unread(f"The server takes longer than {seconds:.3g} seconds for one answer.") from None
    finally:
        given_up.set()
    if isinstance(got, BaseException):
        raise got
    return got


def _wait(answer: queue.SimpleQueue[bytes | BaseException], asked: Asked, until: float) -> bytes | BaseException:
    while asked.tell is not None and time.monotonic() + TICK < until:
        try:
            return answer.get(timeout=TICK)
        except queue.Empty:
            asked.tell()
    return answer.get(timeout=max(0.0, until - time.monotonic()))


def _try(place: Place, asked: Asked, seconds: float, given_up: threading.Event) -> bytes:
    from huggingface_hub import errors, get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(place.repo_id, asked.name, repo_type=place.repo_type, revision=place.commit)
    headers = {**build_hf_headers(token=place.token), "Accept-Encoding": "identity"}
    if asked.ranged:
        headers["Range"] = f"bytes={asked.start}-{asked.stop - 1}"
    origin = _origin(url)
    for _ in range(MAX_REDIRECTS + 1):
        own = _origin(url) == origin
        sent = headers if own else {k: v for k, v in headers.items() if k.lower() != "authorization"}
        try:
            with get_session().stream(
                "GET", url, headers=sent, follow_redirects=False, timeout=min(10.0, seconds)
            ) as response:
                if own:
                    _check_hub(response, place, asked)
                if response.status_code not in _MOVED:
                    return _body(response, asked, given_up)
                url = _next(url, response.headers.get("location", ""), origin, place, asked)
                if own and _origin(url) != origin and "x-repo-commit" not in response.headers:
                    raise Unread(f"{DISAGREE}: it does not say which commit this is of.")
        except (NoAccess, Unread, _Again):
            raise
        except (errors.HTTPError, OSError) as error:
            raise _Again(f"The connection to the server broke off ({type(error).__name__})") from None
        except Exception as error:  # noqa: BLE001 - the client raises what it likes for addresses and headers that are none
            raise Unread(f"The server's answer makes no sense ({type(error).__name__}).") from None
    raise Unread("The server sends from one address to the next without end.")


def _check_hub(response: Any, place: Place, asked: Asked) -> None:
    """What the Hub itself says of the file has to be what it said before."""
    status, headers = response.status_code, response.headers
    if status in _AGAIN:
        raise _Again(f"The server answers {status}", _seconds(headers.get("retry-after", "")))
    if status in (401, 403):
        raise NoAccess(f"{place.repo_id} is gated: ask for access on its page, then log in with `hf auth login`.")
    if status == 404:
        raise Unread("The server lists the file and does not have it.")
    if status == 416:
        raise Unread(f"{DISAGREE}: the file is shorter than it lists.")
    if status not in (200, 206) and status not in _MOVED:
        raise Unread(f"The server answers {status}.")
    commit = headers.get("x-repo-commit")
    if commit != place.commit and (commit is not None or status not in _MOVED):
        raise Unread(f"{DISAGREE}: this answer is about another commit.")
    linked = headers.get("x-linked-etag")
    tag = (linked if linked is not None else headers.get("etag", "")).removeprefix("W/").strip('"')
    if (linked is not None or status not in _MOVED) and asked.digest and tag != asked.digest:
        raise Unread(f"{DISAGREE}: it names another digest for the file.")
    asked.digest = asked.digest or tag[:200]
    size = headers.get("x-linked-size")
    if size is not None and size != str(asked.size):
        raise Unread(f"{DISAGREE}: it names another length for the file.")


def _next(url: str, location: str, origin: tuple[str, str, int], place: Place, asked: Asked) -> str:
    """Where a redirect leads, if it is the same file: a place for it on the same server, or the Hub's own storage."""
    try:
        target = urljoin(url, location)
        found = urlsplit(target)
        host = (found.hostname or "").lower()
    except ValueError:
        raise Unread("The server sends somewhere that is no address.") from None
    if not location or found.scheme not in ("http", "https"):
        raise Unread("The server sends somewhere that is no address.")
    storage = found.scheme == "https" and _origin(target)[2] == 443 and host.endswith((*STORAGE, f".{origin[1]}"))
    if not storage and _origin(target) not in (origin, *HUBS):
        raise Unread(f"The server sends to another host ({host[:100]!a}), which is not asked.")
    kind = f"{place.repo_type}s"
    front = "" if place.repo_type == "model" else f"/{kind}"
    same = (
        f"{front}/{place.repo_id}/resolve/{place.commit}/{asked.name}",
        f"/api/resolve-cache/{kind}/{place.repo_id}/{place.commit}/{asked.name}",
    )
    if not storage and unquote(found.path) not in same:
        raise Unread("The server sends to another repository or another file.")
    return target


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises Unread for what is no address."""
    try:
        found = urlsplit(url)
        return found.scheme, (found.hostname or "").lower(), found.port or (443 if found.scheme == "https" else 80)
    except ValueError:
        raise Unread("The server sends somewhere that is no address.") from None


def _body(response: Any, asked: Asked, given_up: threading.Event) -> bytes:
    """The bytes of an answer, exactly those that were asked for."""
    status, headers = response.status_code, response.headers
    wanted = asked.stop - asked.start
    if status in _AGAIN:
        raise _Again(f"The server answers {status}", _seconds(headers.get("retry-after", "")))
    if status == 206 and asked.ranged:
        if headers.get("content-range", "") != f"bytes {asked.start}-{asked.stop - 1}/{asked.size}":
            raise Unread(f"{DISAGREE}: another part of the file came than was asked for, or it has another length.")
    elif status == 200 and asked.ranged and wanted < asked.size:
        more = "" if asked.sink else "; download it to have it scanned"
        raise Unread(f"The server does not give parts of a file, only all of it{more}.")
    elif status != 200:
        raise Unread(f"The server answers {status}.")
    length = headers.get("content-length")
    if length is not None and length != str(wanted):
        raise Unread(f"{DISAGREE}: the answer has another length than the file.")
    if headers.get("content-encoding", "identity") != "identity":
        raise Unread("The server sends the bytes in another form than was asked for.")
    data = bytearray()
    came = 0
    for piece in response.iter_raw(64 << 10):
        came += len(piece)
        asked.nbytes += len(piece)
        if came > wanted:
            raise Unread(f"{DISAGREE}: more bytes came than were asked for.")
        if given_up.is_set():
            raise Unread("The answer came too late.")
        if asked.sink is None:
            data += piece
        else:
            asked.sink(piece)
            asked.start += len(piece)
    if came < wanted:
        raise _Again("The server's answer was cut off")
    return bytes(data)


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
