"""The demonstration repositories by name, built once and kept.

    commit = offer(Store(Path("hub")), "demo/tiny-bert")

Building takes torch and transformers and a few seconds, so the files are kept in the user's cache folder
(NBGUARD_DEMO_CACHE names another), under the digest of the builders' source and the libraries' versions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from loopback_hub import honest, hostile
from loopback_hub.store import Store

Builder = Callable[[], dict[str, bytes]]

REPOSITORIES: dict[str, tuple[str, Builder]] = {
    "demo/tiny-bert": ("safetensors, honest", honest.tiny_bert),
    "demo/tiny-bert-bin": ("only a pickle, honest", honest.tiny_bert_bin),
    "demo/tiny-custom": ("code of its own, honest", honest.custom_code),
    "hostile/fast-sentiment": ("a pickle that calls os.system", hostile.pickle_payload),
    "hostile/tiny-custom-pro": ("code that acts at import", hostile.code_payload),
    "hostile/two-faced": ("several data.pkl in one zip", hostile.two_faced_zip),
    "hostile/loud-names": ("mark-up and terminal codes in names", hostile.loud_names),
    "hostile/truncated": ("a download that broke off", hostile.truncated),
}


def offer(store: Store, repo_id: str) -> str:
    """Put the demonstration repository `repo_id` into `store`. Returns its commit. Raises KeyError for another name."""
    return store.push(repo_id, files_of(repo_id))


def introduce(store: Store) -> None:
    """Who publishes the demonstration repositories, and what the Hub's own scanners say of one of them."""
    store.describe_owner("demo", fullname="Demonstrations", isVerified=True, numModels=3)
    store.describe_owner("hostile", "user", fullname="Verified Models Team")
    bad = {"path": "pytorch_model.bin", "level": "unsafe"}
    imports = [{"module": "posix", "name": "system", "safety": "dangerous"}]
    status = {"status": "unsafe", "pickleImportScan": {"status": "unsafe", "pickleImports": imports}}
    store.describe(
        "hostile/fast-sentiment",
        securityRepoStatus={"scansDone": True, "filesWithIssues": [bad]},
        files={"pytorch_model.bin": {"securityFileStatus": status}},
    )


def files_of(repo_id: str) -> dict[str, bytes]:
    """Path → bytes, from the cache or built now."""
    builder = REPOSITORIES[repo_id][1]
    place = _cache() / _key() / repo_id
    if not place.is_dir():
        _keep(place, builder())
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


def _cache() -> Path:
    named = os.environ.get("NBGUARD_DEMO_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("nbguard-loopback-hub")


def _key() -> str:
    total = hashlib.sha256()
    for module in (honest, hostile):
        total.update(Path(str(module.__file__)).read_bytes())
    total.update("\n".join(version(name) for name in ("torch", "transformers", "safetensors", "tokenizers")).encode())
    return total.hexdigest()[:16]


def _keep(place: Path, files: dict[str, bytes]) -> None:
    """Written beside and renamed, so that a half-written cache is never taken for a whole one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
    for path, data in files.items():
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    try:
        draft.rename(place)
    except OSError:  # another process was first; its files are the same
        shutil.rmtree(draft)
