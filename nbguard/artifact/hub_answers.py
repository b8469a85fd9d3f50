"""One JSON answer of a Hub, bounded in length and in time, as huggingface_hub's own client would have read it.

    info = repository_info("org/name", "model", revision="main")      # huggingface_hub's ModelInfo

The client's own calls read whatever is sent, for as long as it is sent. Its session, headers and errors are used here.
"""

from __future__ import annotations

import json
import sys
import time
from types import ModuleType
from typing import Any
from urllib.parse import quote

SECONDS = 60.0
"""For one listing, from its first to its last byte."""
WORD = 30.0
"""Without a word from the Hub while it lists a repository."""
LONGEST = 32 << 20
"""Bytes of one listing, unpacked; 20,000 files take some eight million."""


def repository_info(
    repo_id: str, repo_type: str, *, revision: str | None = None, token: str | bool | None = None
) -> Any:
    """What the Hub says of a repository and its files: a `ModelInfo`, or a `DatasetInfo`.

    Raises what huggingface_hub raises for the same answers, and ValueError where it is too long or comes too slowly.
    """
    from huggingface_hub import DatasetInfo, ModelInfo, constants
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(repo_id)
    at = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    asked = {"blobs": True, **({"securityStatus": True} if repo_type == "model" else {})}
    data = _json(f"{constants.ENDPOINT}/api/{repo_type}s/{repo_id}{at}", asked, token)
    return (ModelInfo if repo_type == "model" else DatasetInfo)(**data)


def _json(url: str, params: dict[str, Any], token: str | bool | None) -> Any:
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    deadline = time.monotonic() + SECONDS
    data = bytearray()
    with get_session().stream(
        "GET", url, params=params, headers=build_hf_headers(token=token), timeout=WORD
    ) as response:
        for piece in response.iter_bytes():  # as they come, so that the deadline holds
            data += piece
            if len(data) > LONGEST:
                raise ValueError(f"an answer of more than {LONGEST:,} bytes")
            if time.monotonic() > deadline:
                raise ValueError(f"an answer that takes longer than {SECONDS:.0f} seconds")
        status, headers = response.status_code, response.headers
        request = response.request
    kept = {k: v for k, v in headers.items() if k.lower() not in ("content-encoding", "content-length")}
    hf_raise_for_status(client().Response(status, headers=kept, content=bytes(data), request=request))
    return json.loads(bytes(data))


def client() -> ModuleType:
    """The HTTP library that huggingface_hub has its session from (httpx, or httpx2 in newer ones)."""
    from huggingface_hub import get_session

    return sys.modules[type(get_session()).__module__.partition(".")[0]]
