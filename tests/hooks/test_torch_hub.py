"""`torch.hub`: code runs only as scanned and accepted, and without effects; what an address gives is only weights."""

from __future__ import annotations

import hashlib
import http.server
import importlib
import io
import pickle
import py_compile
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.hub

from nbguard.approvals import AuditLog
from nbguard.errors import LoadBlocked

HUBCONF = """
dependencies = ["torch"]
import torch
from pieces.net import Net

def tiny(width=2):
    \"\"\"A small one.\"\"\"
    return Net(width)

def lazy():
    import importlib
    return importlib.import_module("pieces." + "".join(["la", "te"])).VALUE
"""
NET = """
import torch
from . import numbers

class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.line = torch.nn.Linear(width, numbers.OUT)
"""


@pytest.fixture(autouse=True)
def _guarded_and_clean(guarded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    before = torch.hub._hub_dir
    modules = set(sys.modules)
    torch.hub.set_dir(tmp_path / "hub")
    yield
    torch.hub._hub_dir = before
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("pieces", "evil"):
            del sys.modules[name]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with an honest model, on this machine."""
    root = tmp_path / "repo"
    (root / "pieces").mkdir(parents=True)
    (root / "hubconf.py").write_text(HUBCONF)
    (root / "pieces" / "__init__.py").write_text("")
    (root / "pieces" / "net.py").write_text(NET)
    (root / "pieces" / "numbers.py").write_text("OUT = 3\n")
    (root / "setup.py").write_text("import subprocess\nsubprocess.run(['true'])\n")
    return root


def load(root: Path, model: str = "tiny", *args: object, **kwargs: object) -> object:
    return torch.hub.load(str(root), model, *args, source="local", **kwargs)


class Site:
    """What a loopback server gives, by path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                data = site.files.get(self.path.partition("?")[0])
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    there = Site()
    yield there
    there.close()


def zipped(root: Path, top: str = "owner-name-abc123/") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(top, "")
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, top + path.relative_to(root).as_posix())
    return out.getvalue()


@pytest.fixture
def github(site: Site, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`owner/name:v1`, served on this machine in GitHub's place."""
    site.files["/zip"] = zipped(repo)
    monkeypatch.setattr(torch.hub, "_git_archive_link", lambda *a, **k: f"{site.url}/zip")
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("torch asked on standard input"))
    return site


def fetch(model: str = "tiny", **kwargs: object) -> object:
    return torch.hub.load("owner/name:v1", model, skip_validation=True, verbose=False, **kwargs)


# --- code ------------------------------------------------------------------------------------------------------------


def test_an_honest_repository_is_asked_about_once_and_loads(person, repo):
    net = load(repo, "tiny", 4)
    assert net.line.weight.shape == (3, 4)
    (report,) = person.reports
    assert report.verdict.word == "review"
    assert sorted(f.path for f in report.files) == [
        "hubconf.py",
        "pieces/__init__.py",
        "pieces/net.py",
        "pieces/numbers.py",
    ]
    assert {c.path for c in report.contract.code} >= {"hubconf.py", "pieces/net.py", "pieces/numbers.py"}
    load(repo, "tiny")
    assert len(person.reports) == 1


def test_a_refusal_runs_nothing(person, repo, marker):
    person.choice = "refuse"
    (repo / "pieces" / "net.py").write_text(f"open({str(marker)!r}, 'w')\n" + NET)
    with pytest.raises(LoadBlocked):
        load(repo)
    assert not marker.exists()
    assert "pieces" not in sys.modules


def test_nobody_there(nobody, repo):
    with pytest.raises(LoadBlocked):
        load(repo)


def test_what_was_approved_loads_where_nobody_is(nobody, repo):
    from nbguard.commands import actions

    actions.approve(str(repo), reason="read it")
    assert load(repo) is not None
    (repo / "pieces" / "numbers.py").write_text("OUT = 4\n")
    with pytest.raises(LoadBlocked):
        load(repo)


@pytest.mark.parametrize("where", ["hubconf", "module", "entry", "constructor", "thread"])
def test_hostile_code_is_stopped_by_the_wall_even_where_it_was_accepted(person, repo, marker, where):
    act = f"open({str(marker)!r}, 'w').close()"
    match where:
        case "hubconf":
            (repo / "hubconf.py").write_text(f"{act}\n{HUBCONF}")
        case "module":
            (repo / "pieces" / "numbers.py").write_text(f"OUT = 3\n{act}\n")
        case "entry":
            (repo / "hubconf.py").write_text(f"def tiny():\n    {act}\n")
        case "constructor":
            (repo / "pieces" / "net.py").write_text(NET + f"        {act}\n")
        case "thread":
            code = f"def tiny():\n    import threading\n    threading.Thread(target=lambda: {act}).start()\n"
            (repo / "hubconf.py").write_text(code)
    with pytest.raises(LoadBlocked, match="stopped"):
        load(repo)
    assert not marker.exists()


def test_byte_code_and_native_modules_beside_the_source_are_not_taken(person, repo, marker, tmp_path):
    evil = tmp_path / "numbers.py"
    evil.write_text(f"open({str(marker)!r}, 'w').close()\nOUT = 3\n")
    source = repo / "pieces" / "numbers.py"
    cached = importlib.util.cache_from_source(str(source))
    py_compile.compile(str(evil), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert load(repo).line.weight.shape == (3, 2)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pyc", importlib.machinery.EXTENSION_SUFFIXES[0]])
def test_a_module_without_source_is_refused(person, repo, suffix):
    (repo / "pieces" / "numbers.py").unlink()
    (repo / "pieces" / f"numbers{suffix}").write_bytes(b"\0" * 100)
    with pytest.raises(LoadBlocked, match="no Python source"):
        load(repo)


def test_a_link_out_of_the_folder_is_refused(person, repo, marker, tmp_path):
    (tmp_path / "numbers.py").write_text(f"open({str(marker)!r}, 'w').close()\nOUT = 3\n")
    (repo / "pieces" / "numbers.py").unlink()
    (repo / "pieces" / "numbers.py").symlink_to(tmp_path / "numbers.py")
    with pytest.raises((LoadBlocked, OSError)):
        load(repo)
    assert not marker.exists()


def test_code_that_the_text_does_not_name_is_asked_about_when_it_is_reached_for(person, repo):
    (repo / "pieces" / "late.py").write_text("VALUE = 7\n")
    assert load(repo, "lazy") == 7
    assert [sorted(f.path for f in r.files) for r in person.reports][1] == ["pieces/late.py"]


def test_code_that_changes_between_the_answer_and_its_import_is_not_run(repo, marker, monkeypatch, person):
    from nbguard.hooks import walk

    accepting = walk.ask

    def swapped(report, decision, request):
        (repo / "pieces" / "numbers.py").write_text(f"OUT = 3\nopen({str(marker)!r}, 'w').close()\n")
        person.choice = "refuse" if len(person.reports) else "once"
        return accepting(report, decision, request)

    monkeypatch.setattr(walk, "ask", swapped)
    with pytest.raises(LoadBlocked):
        load(repo)
    assert not marker.exists()


def test_listing_and_help_import_the_code_too(person, github, repo, marker):
    assert torch.hub.list("owner/name:v1", skip_validation=True, verbose=False) == ["Net", "lazy", "tiny"]
    assert torch.hub.help("owner/name:v1", "tiny", skip_validation=True) == "A small one."
    assert len(person.reports) == 1
    (repo / "hubconf.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    github.files["/zip"] = zipped(repo, "owner-name-def456/")
    person.choice = "refuse"
    for look in (torch.hub.list, lambda *a, **k: torch.hub.help(a[0], "tiny", **k)):
        with pytest.raises(LoadBlocked):
            look("owner/name:v1", force_reload=True, skip_validation=True)
    assert not marker.exists()


def test_a_repository_of_github_is_fetched_then_asked_about_then_imported(person, github, tmp_path):
    assert fetch().line.weight.shape == (3, 2)
    (report,) = person.reports
    assert report.target == str(tmp_path / "hub" / "owner_name_v1")  # what `nbguard approve` takes
    assert report.provenance["repository"] == "owner/name:v1"
    assert github.asked == ["/zip"]
    assert not (Path(torch.hub.get_dir()) / "trusted_list").exists()


def test_a_refused_repository_was_fetched_and_not_run(person, github, repo, marker):
    (repo / "hubconf.py").write_text(f"import os\nos.system('touch {marker}')\n")
    github.files["/zip"] = zipped(repo)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        fetch(trust_repo=True)
    assert person.verdicts == ["danger"]
    assert not marker.exists()


@pytest.mark.parametrize("top", ["../../victim/", "checkpoints/", "other/../../", "", "/abs/"])
def test_an_archive_that_would_replace_other_things_is_refused(person, github, repo, tmp_path, top):
    kept = tmp_path / "hub" / "checkpoints" / "kept.pth"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept")
    (tmp_path / "victim").mkdir()
    github.files["/zip"] = zipped(repo, top) if top else b"no zip"
    with pytest.raises(LoadBlocked, match="archive"):
        fetch()
    assert kept.read_text() == "kept"
    assert (tmp_path / "victim").is_dir()


# --- weights ---------------------------------------------------------------------------------------------------------


def weights(value: object = None) -> bytes:
    out = io.BytesIO()
    torch.save({"w": torch.ones(2)} if value is None else value, out)
    return out.getvalue()


def test_weights_from_an_address(person, site):
    site.files["/w.pth"] = weights()
    with pytest.warns(UserWarning, match="weights_only=True"):
        found = torch.hub.load_state_dict_from_url(f"{site.url}/w.pth?token=secret", progress=False)
    assert found["w"].tolist() == [1.0, 1.0]
    noted = [e for e in AuditLog().entries() if e["event"] == "hub.download"]
    assert noted[-1]["target"] == f"{site.url}/w.pth"


@pytest.mark.filterwarnings("ignore:torch.hub.load_state")
def test_hostile_weights(person, site, marker):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    site.files["/w.pth"] = weights(Evil())
    site.files["/p.pkl"] = pickle.dumps(Evil())
    person.choice = "refuse"
    for name in ("w.pth", "p.pkl"):
        for how in ({}, {"weights_only": False}):
            with pytest.raises((LoadBlocked, pickle.UnpicklingError)):
                torch.hub.load_state_dict_from_url(f"{site.url}/{name}", progress=False, **how)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../up.pth", "/abs.pth", "a/b.pth", "..", ".hidden", "a\\b", "x" * 300, "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(person, site, name):
    site.files["/w.pth"] = weights()
    with pytest.raises(LoadBlocked, match="no plain name"):
        torch.hub.load_state_dict_from_url(f"{site.url}/w.pth", file_name=name, weights_only=True)
    assert site.asked == []


@pytest.mark.parametrize("url", ["file:///etc/passwd.pth", "ftp://127.0.0.1/x.pth", "http://user:pw@127.0.0.1/x.pth"])
def test_other_addresses_are_refused(person, url):
    with pytest.raises(LoadBlocked, match="http and https"):
        torch.hub.load_state_dict_from_url(url, weights_only=True)


def test_the_checksum_in_the_name(person, site):
    data = weights()
    good = f"w-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    site.files |= {f"/{good}": data, "/w-00000000.pth": data, "/w.pth": data}
    how = {"check_hash": True, "progress": False, "weights_only": True}
    assert "w" in torch.hub.load_state_dict_from_url(f"{site.url}/{good}", **how)
    (Path(torch.hub.get_dir()) / "checkpoints" / good).write_bytes(weights({"other": 1}))
    with pytest.raises(LoadBlocked, match="checksum in its name"):
        torch.hub.load_state_dict_from_url(f"{site.url}/{good}", **how)
    with pytest.raises(RuntimeError, match="hash"):
        torch.hub.load_state_dict_from_url(f"{site.url}/w-00000000.pth", **how)
    with pytest.raises(LoadBlocked, match="no checksum"):
        torch.hub.load_state_dict_from_url(f"{site.url}/w.pth", **how)


def test_an_old_zip_is_unpacked_in_memory(person, site, tmp_path):
    other = tmp_path / "hub" / "checkpoints" / "other.pth"
    other.parent.mkdir(parents=True)
    other.write_text("kept")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("other.pth", weights())
    site.files["/old.zip"] = out.getvalue()
    found = torch.hub.load_state_dict_from_url(f"{site.url}/old.zip", progress=False, weights_only=True)
    assert found["w"].tolist() == [1.0, 1.0]
    assert other.read_text() == "kept"


FETCHING = """
import torch
def tiny():
    return torch.hub.load_state_dict_from_url({url}, progress=False)
"""


def test_accepted_code_fetches_its_weights(person, repo, site):
    site.files["/w.pth"] = weights()
    (repo / "hubconf.py").write_text(FETCHING.format(url=repr(f"{site.url}/w.pth")))
    assert "w" in load(repo)
    assert (Path(torch.hub.get_dir()) / "checkpoints" / "w.pth").exists()


def test_accepted_code_fetches_from_nowhere_that_it_does_not_name(person, repo, site):
    hidden = site.url.encode().hex()
    (repo / "hubconf.py").write_text(FETCHING.format(url=f"bytes.fromhex('{hidden}').decode() + '/w.pth'"))
    with pytest.raises(LoadBlocked, match="does not stand in the code"):
        load(repo)
    assert site.asked == []


def test_accepted_code_writes_what_it_fetches_into_torchs_folder_only(person, repo, site, marker):
    site.files["/w.pth"] = weights()
    code = f"import torch\ndef tiny():\n    torch.hub.download_url_to_file('{site.url}/w.pth', {str(marker)!r})\n"
    (repo / "hubconf.py").write_text(code)
    with pytest.raises(LoadBlocked, match="outside of torch's own folder"):
        load(repo)
    assert not marker.exists()


def test_everything_is_given_back(repo):
    from nbguard import hooks

    hooks.uninstall()
    try:
        assert torch.hub.load.__code__.co_filename.endswith("hub.py")
        assert not any(type(f).__name__ == "FolderFinder" for f in sys.meta_path)
        assert load(repo).line.weight.shape == (3, 2)
    finally:
        hooks.install()


@pytest.mark.parametrize(
    "way",
    [
        "import sys; sys.path.insert(0, {elsewhere!r}); import evil",
        "import importlib.util as u; s = u.spec_from_file_location('evil', {file!r});"
        " s.loader.exec_module(u.module_from_spec(s))",
        "exec(open({file!r}).read())",
        "import runpy; runpy.run_path({file!r})",
        "import zipimport, sys; sys.path.insert(0, {elsewhere!r} + '/evil.zip'); import evil",
        "import torch; torch.hub._import_module('evil', {file!r})",
    ],
)
@pytest.mark.parametrize("where", ["import", "entry"])
def test_code_from_elsewhere_does_not_run_within(person, repo, marker, tmp_path, way, where):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    if "zip" in way:
        with zipfile.ZipFile(elsewhere / "evil.zip", "w") as archive:
            archive.write(elsewhere / "evil.py", "evil.py")
        (elsewhere / "evil.py").unlink()
    line = way.format(elsewhere=str(elsewhere), file=str(elsewhere / "evil.py"))
    inside = line.replace("; ", "\n    ")
    text = f"def tiny():\n    {inside}\n" if where == "entry" else line.replace("; ", "\n") + "\ndef tiny(): pass\n"
    (repo / "hubconf.py").write_text(text)
    path = list(sys.path)
    try:
        with pytest.raises(LoadBlocked):
            load(repo)
    finally:
        sys.path[:] = path
    assert not marker.exists()
