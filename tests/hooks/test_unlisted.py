"""What a library fetches within a load is what was listed, and scanned: no file that the listing left out, no folder of
the same name in its place, no second download into another place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import Hub

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from huggingface_hub import hf_hub_download, snapshot_download  # noqa: E402
from huggingface_hub.errors import EntryNotFoundError  # noqa: E402
from transformers import AutoModel  # noqa: E402

from nbguard.artifact import hub as artifact_hub  # noqa: E402
from nbguard.errors import LoadBlocked  # noqa: E402
from nbguard.hooks.loaders.repository import loading  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from hub_tools import someone, write  # noqa: E402
from test_before_download import big, in_cache, pushed  # noqa: E402
from transformers_tools import Person  # noqa: E402

person = pytest.fixture(someone)
HIDDEN = ("adapter_config.json", "hidden.py", "README.md")


@pytest.fixture
def hiding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lists less to the guard than it serves."""
    asked: Callable[..., Any] = artifact_hub.repository_info

    def less(**arguments: Any) -> Any:
        info = asked(**arguments)
        info.siblings = [s for s in info.siblings if s.rfilename not in HIDDEN]
        return info

    monkeypatch.setattr(artifact_hub, "repository_info", less)


def hostile(hub: Hub, name: str) -> str:
    return pushed(hub, name, {**big(), **dict.fromkeys(HIDDEN, b'{"base_model_name_or_path": "demo/tiny-bert"}')})


@pytest.mark.usefixtures("hiding")
def test_a_file_that_was_not_listed_is_not_fetched_by_the_library(hub: Hub, person: Person) -> None:
    repo = hostile(hub, "unlisted-optional")
    AutoModel.from_pretrained(repo)
    assert len(person.asked) == 1
    assert not [p for p in in_cache(repo) if p.endswith(HIDDEN)]


@pytest.mark.usefixtures("hiding")
def test_a_file_that_was_not_listed_does_not_exist(hub: Hub, person: Person) -> None:
    repo = hostile(hub, "unlisted-asked")
    with loading("a library", {}) as load:
        load.admit(repo)
        for name in HIDDEN:
            with pytest.raises(EntryNotFoundError):
                hf_hub_download(repo, name)
    assert not [p for p in in_cache(repo) if p.endswith(HIDDEN)]


@pytest.mark.usefixtures("hiding")
def test_a_snapshot_holds_what_was_listed(hub: Hub, person: Person) -> None:
    repo = hostile(hub, "unlisted-snapshot")
    with loading("a library", {}):
        place = Path(snapshot_download(repo))
    assert sorted(p.name for p in place.iterdir()) == ["config.json", "model.safetensors"]


def test_a_folder_of_the_same_name_is_not_looked_at_instead(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repo = pushed(hub, "decoy", {**big(), "hidden.py": b"import os\nos.system('true')\n"})
    write(tmp_path / repo, {"hidden.py": b"x = 1\n", "config.json": b"{}"})
    monkeypatch.chdir(tmp_path)
    person.choice = "refuse"
    for fetch in (lambda: hf_hub_download(repo, "hidden.py"), lambda: snapshot_download(repo)):
        with pytest.raises(LoadBlocked), loading("a library", {}):
            fetch()
    assert person.asked
    assert all(r.provenance["source"] == "Hub" for r in person.asked)
    assert in_cache(repo) == []


@pytest.mark.parametrize("where", ["cache_dir", "local_dir"])
@pytest.mark.parametrize("all_of_it", [False, True], ids=["file", "snapshot"])
def test_no_second_download_brings_other_bytes_than_were_scanned(
    where: str, all_of_it: bool, hub: Hub, person: Person, tmp_path: Path
) -> None:
    repo = pushed(hub, f"second-{where}-{all_of_it}", big())
    commit = hub.store.refs(repo)["main"]
    served = hub.store.path(repo, commit, "model.safetensors")
    assert served is not None
    honest = served.read_bytes()
    with loading("a library", {}) as load:
        load.admit(repo)
        served.write_bytes(honest[:-4] + b"evil")
        elsewhere: dict[str, Any] = {where: tmp_path / "elsewhere"}
        try:
            if all_of_it:
                place = Path(snapshot_download(repo, **elsewhere)) / "model.safetensors"
            else:
                place = Path(hf_hub_download(repo, "model.safetensors", **elsewhere))
        except (LoadBlocked, OSError):
            place = None
    assert place is None or place.read_bytes() == honest


@pytest.mark.parametrize("where", ["cache_dir", "local_dir"])
def test_a_second_place_gets_the_scanned_bytes(where: str, hub: Hub, person: Person, tmp_path: Path) -> None:
    repo = pushed(hub, f"honest-{where}", big())
    with loading("a library", {}):
        place = Path(snapshot_download(repo, **{where: tmp_path / "elsewhere"}))  # type: ignore[arg-type]
    assert tmp_path in place.parents
    assert {"config.json", "model.safetensors"} <= {p.name for p in place.iterdir()}
    assert len(person.asked) == 1


def test_a_folder_that_claims_to_hold_the_file_already_is_not_believed(
    hub: Hub, person: Person, tmp_path: Path
) -> None:
    """A project can bring such a folder along, with the notes that huggingface_hub keeps of what it downloaded."""
    repo = pushed(hub, "planted", big())
    note = f"{hub.store.refs(repo)['main']}\n{'0' * 64}\n9999999999.0\n".encode()
    planted = {"model.safetensors": b"evil", ".cache/huggingface/download/model.safetensors.metadata": note}
    write(tmp_path / "models", planted)
    with pytest.raises(LoadBlocked, match="is not the file that was listed"), loading("a library", {}):
        hf_hub_download(repo, "model.safetensors", local_dir=tmp_path / "models")
