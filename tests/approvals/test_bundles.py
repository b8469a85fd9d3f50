"""Bundles of approvals: taken only whole, only from trusted keys, and never to bring back what was revoked."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import sqlite3
import time
from pathlib import Path

import pytest

from nbguard.approvals import RecordError, Store
from nbguard.approvals import bundle as bundles
from nbguard.approvals.bundle import BundleError, opened
from nbguard.approvals.exchange import Exported, Taken, export, take
from nbguard.approvals.filters import Filter
from nbguard.approvals.signing import PrivateKey, PublicKey
from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.artifact.sources import open_path
from nbguard.report.model import Contract, FileReport, Finding, GlobalUse, Program, Report, Severity, Verdict

DAY = 86_400.0


def report(
    pin: str = "sha256:aa",
    name: str = "model.pkl",
    verdict: Verdict = Verdict.REVIEW,
    size: int = 3,
    **contract: object,
) -> Report:
    artifact = Artifact(name, "path", (ArtifactFile(name, size, "pickle", pin),))
    uses = (GlobalUse("collections", "deque", (("collections", "deque"),), ("named",), "data"),)
    held = Contract(programs=(Program(name, "", 0, 3, pin, "pickle"),), globals=uses, **contract)
    files = (FileReport(name, size, "pickle", verdict, pin=pin),)
    return Report(name, artifact, files, (Finding("r", Severity.LOW, name, "", "m"),), held, rules_version="1")


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "nbguard-data"))


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store(tmp_path / "here" / "approvals.sqlite3")


@pytest.fixture
def there(tmp_path: Path) -> Store:
    """On the machine that no network reaches."""
    return Store(tmp_path / "there" / "approvals.sqlite3")


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return PrivateKey.make("platform", tmp_path / "keys")


def exported(store: Store, key: PrivateKey, now: float | None = None, **wanted: str) -> Exported:
    return export(store, key, Filter(**wanted), issuer="ada", expires=time.time() + 30 * DAY, now=now)


def taken(store: Store, made: Exported, key: PrivateKey, **how: object) -> Taken:
    known = {key.public.id: key.public}
    read = opened(made.data, known, time.time())
    recorded: list[Taken] = []
    out = take(store, read, key.public, how.pop("allowed", lambda entry: ("", entry.expires)), recorded.append, **how)
    assert bool(recorded) is not bool(how.get("dry_run"))
    return out


def outcomes(done: Taken) -> list[str]:
    return [item.outcome for item in done.items]


def test_what_is_approved_here_is_approved_there(here, there, key):
    given = here.add(report(), "ada", "our own trainer", expires=time.time() + DAY)
    made = exported(here, key)
    done = taken(there, made, key)
    assert outcomes(done) == ["new"]
    found = there.find(report("sha256:aa", "copy.pkl"))
    assert (found.who, found.reason, found.verdict, found.expires) == (
        "ada",
        "our own trainer",
        given.verdict,
        given.expires,
    )
    assert found.created == given.created
    origin = found.origin
    assert (origin.key, origin.name, origin.approval, origin.bundle) == (
        key.public.id, "platform", given.id, made.bundle.id,
    )  # fmt: skip
    assert there.find(report("sha256:ab")) is None


def test_large_files_are_recognised_by_their_checksum(here, there, key, tmp_path):
    file, copy, other = tmp_path / "big.pt", tmp_path / "copy" / "big.pt", tmp_path / "other.pt"
    copy.parent.mkdir()
    file.write_bytes(b"x" * 5000)
    copy.write_bytes(b"x" * 5000)
    other.write_bytes(b"y" * 5000)
    big = report("layout:99", size=5000)
    with open_path(file) as handle:
        here.remember(big, handle, "ada", "")
    taken(there, exported(here, key), key)
    with open_path(copy) as same, open_path(other) as changed:
        assert there.find(big, same).who == "ada"
        assert there.find(big, changed) is None
        assert there.find(big) is None


def test_nothing_is_imported_by_a_dry_run(here, there, key):
    here.add(report(), "ada", "")
    made = exported(here, key)
    assert outcomes(taken(there, made, key, dry_run=True)) == ["new"]
    assert there.list(all_of_them=True) == ()
    assert outcomes(taken(there, made, key)) == ["new"]


def test_only_what_is_wanted_is_exported(here, key):
    here.add(report(), "ada", "")
    here.add(report("sha256:bb", "other.pkl"), "bob", "")
    gone = here.add(report("sha256:cc", "gone.pkl"), "bob", "")
    here.revoke(gone.id, "bob", "no good")
    made = exported(here, key, who="bob")
    assert [e.target for e in made.bundle.entries] == ["other.pkl"]
    assert [(r.target, r.reason) for r in made.bundle.revocations] == [("gone.pkl", "no good")]
    with pytest.raises(BundleError, match="nothing was exported"):
        exported(here, key, who="eve")


def test_a_revocation_travels_and_ends_what_was_given_before(here, there, key):
    here.add(report(), "ada", "")
    taken(there, exported(here, key), key)
    there.add(report("sha256:bb", "other.pkl"), "local", "")
    (revoked,) = here.revoke("model.pkl", "ada", "found out")
    done = taken(there, exported(here, key), key)
    assert [a.id for a in done.revoked] == [there.list(all_of_them=True)[0].id]
    assert there.find(report()) is None
    (gone,) = [a for a in there.list(all_of_them=True) if a.revoked is not None]
    assert gone.revoked_why == "found out"
    assert "platform" in gone.revoked_by
    assert there.find(report("sha256:bb", "other.pkl")).who == "local"
    assert revoked.id == gone.origin.approval


def test_a_revocation_ends_a_local_approval_of_the_same_content_given_before_not_one_given_after(here, there, key):
    here.add(report(), "ada", "")
    there.add(report(), "local", "")
    here.revoke("model.pkl")
    taken(there, exported(here, key), key)
    assert there.find(report()) is None
    again = there.add(report(), "local", "I know better")
    here.add(report("sha256:bb"), "ada", "")
    assert taken(there, exported(here, key), key).revoked == ()
    assert there.find(report()).id == again.id


def test_what_was_revoked_and_approved_again_holds(here, there, key):
    here.add(report(), "ada", "")
    taken(there, exported(here, key), key)
    here.revoke("model.pkl")
    here.add(report(), "ada", "it was a mistake")
    done = taken(there, exported(here, key), key)
    assert len(done.revoked) == 1
    assert there.find(report()).reason == "it was a mistake"


def test_what_was_revoked_here_does_not_come_back(here, there, key):
    here.add(report(), "ada", "")
    taken(there, exported(here, key), key)
    there.revoke("model.pkl", "local", "not ours")
    here.add(report("sha256:bb", "other.pkl"), "ada", "")
    done = taken(there, exported(here, key), key)
    assert outcomes(done) == ["left out", "new"]
    assert "revoked here" in done.items[0].why
    assert there.find(report()) is None


def test_what_another_signer_revoked_does_not_come_back(here, there, key, tmp_path):
    second = PrivateKey.make("second", tmp_path / "keys")
    here.add(report(), "ada", "")
    old = exported(here, key)
    here.revoke("model.pkl")
    taken(there, exported(here, second), second)
    assert outcomes(taken(there, old, key)) == ["left out"]
    assert there.find(report()) is None


def test_a_bundle_is_taken_once_and_never_after_a_newer_one(here, there, key):
    here.add(report(), "ada", "")
    first = exported(here, key)
    second = exported(here, key)
    assert second.bundle.serial > first.bundle.serial
    taken(there, second, key)
    with pytest.raises(BundleError, match="imported already"):
        taken(there, second, key)
    with pytest.raises(BundleError, match="newer bundle"):
        taken(there, first, key)


def test_serials_grow_when_the_clock_goes_back(here, key):
    here.add(report(), "ada", "")
    now = time.time()
    serials = [exported(here, key, moment).bundle.serial for moment in (now, now - DAY, now - 2 * DAY)]
    assert serials == sorted(set(serials))


def test_an_approval_of_ones_own_stays_and_an_imported_one_is_renewed(here, there, key):
    here.add(report(), "ada", "first")
    here.add(report("sha256:bb", "own.pkl"), "ada", "")
    there.add(report("sha256:bb", "own.pkl"), "local", "mine")
    done = taken(there, exported(here, key), key)
    assert outcomes(done) == ["new", "left out"]
    assert there.find(report("sha256:bb")).who == "local"
    here.add(report(), "ada", "second")
    before = there.find(report()).id
    assert outcomes(taken(there, exported(here, key), key)) == ["left out", "renewed"]
    assert (there.find(report()).id, there.find(report()).reason) == (before, "second")


def test_the_policy_there_has_a_say(here, there, key):
    here.add(report(verdict=Verdict.DANGER), "ada", "")
    here.add(report("sha256:bb", "b.pkl"), "ada", "")
    until = time.time() + 5

    def allowed(entry):
        return ("too dangerous" if entry.verdict is Verdict.DANGER else "", until)

    done = taken(there, exported(here, key), key, allowed=allowed)
    assert [(i.outcome, i.why) for i in done.items] == [("left out", "too dangerous"), ("new", "")]
    assert there.list()[0].expires == until


def test_what_expired_on_the_way_is_left_out(here, there, key):
    here.add(report(), "ada", "", expires=time.time() + 100)
    made = exported(here, key)
    done = take(
        there, opened(made.data, {key.public.id: key.public}, time.time()), key.public,
        lambda e: ("", e.expires), lambda _: None, now=time.time() + 200,
    )  # fmt: skip
    assert [(i.outcome, i.why) for i in done.items] == [("left out", "It has expired.")]


def test_a_log_that_cannot_be_written_stops_the_import(here, there, key):
    here.add(report(), "ada", "")
    made = exported(here, key)

    def fails(_: Taken) -> None:
        raise RecordError("no room")

    read = opened(made.data, {key.public.id: key.public}, time.time())
    with pytest.raises(RecordError, match="no room"):
        take(there, read, key.public, lambda e: ("", e.expires), fails)
    assert there.list(all_of_them=True) == ()
    assert outcomes(taken(there, made, key)) == ["new"]


# --- what is not taken at all ----------------------------------------------------------------------------------------


def resigned(made: Exported, key: PrivateKey, change) -> bytes:
    """The bundle with `change(content)` done to it, signed as if its owner had meant that."""
    content = json.loads(base64.b64decode(json.loads(made.data)["payload"]))
    content = change(content) or content
    payload = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return enveloped(payload, key)


def enveloped(payload: bytes, key: PrivateKey, kind: str = bundles.PAYLOAD_TYPE) -> bytes:
    signature = base64.b64encode(key.sign(bundles._encoded(payload))).decode()
    signatures = [{"keyid": key.public.id, "sig": signature}]
    return json.dumps(
        {"payloadType": kind, "payload": base64.b64encode(payload).decode(), "signatures": signatures}
    ).encode()


@pytest.fixture
def made(here: Store, key: PrivateKey) -> Exported:
    here.add(report(), "ada", "looked at it")
    here.add(report("sha256:bb", "b.pkl"), "ada", "")
    return exported(here, key)


def refused(data: bytes, key: PrivateKey, now: float | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        opened(data, {key.public.id: key.public}, time.time() if now is None else now)
    return str(caught.value)


def test_an_untrusted_key(made, key, tmp_path):
    other = PrivateKey.make("other", tmp_path / "keys")
    assert key.public.id[:16] in refused(made.data, other)
    envelope = json.loads(made.data)
    envelope["signatures"][0]["keyid"] = other.public.id
    assert "signature does not hold" in refused(json.dumps(envelope).encode(), other)


def test_any_changed_byte_of_the_content(made, key):
    envelope = json.loads(made.data)
    payload = bytearray(base64.b64decode(envelope["payload"]))
    for place in (5, len(payload) // 2, len(payload) - 2):
        changed = bytearray(payload)
        changed[place] ^= 1
        envelope["payload"] = base64.b64encode(changed).decode()
        assert "changed after it was signed" in refused(json.dumps(envelope).encode(), key)


def test_a_signature_of_something_else(made, key):
    envelope = json.loads(made.data)
    payload = base64.b64decode(envelope["payload"])
    envelope["signatures"][0]["sig"] = base64.b64encode(key.sign(payload)).decode()  # without the type
    assert "signature does not hold" in refused(json.dumps(envelope).encode(), key)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"payloadType": 1, "payload": 2, "signatures": 3}']
)
def test_no_bundle(data, key):
    assert "not a signed bundle" in refused(data, key)


def test_an_unknown_version(made, key):
    payload = base64.b64decode(json.loads(made.data)["payload"])
    assert "version" in refused(enveloped(payload, key, bundles.PAYLOAD_TYPE.replace("=1", "=2")), key)
    assert "version" in refused(resigned(made, key, lambda c: c.update(schema="nbguard.approvals-bundle/2")), key)


def test_oversized(made, key, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BYTES", 1000)
    assert "larger" in refused(made.data, key)
    monkeypatch.setattr(bundles, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(bundles, "MAX_ENTRIES", 1)
    assert "at most 1" in refused(made.data, key)


def test_expired_or_from_the_future(made, key):
    assert "expired" in refused(made.data, key, time.time() + 31 * DAY)
    assert "future" in refused(made.data, key, time.time() - 2 * DAY)


def test_not_canonical(made, key):
    payload = base64.b64decode(json.loads(made.data)["payload"])
    assert "one form" in refused(enveloped(payload.replace(b",", b", ", 1), key), key)
    assert "one form" in refused(enveloped(b'{"schema":"x",' + payload[1:], key), key)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(signer="0" * 64),
        lambda c: c.update(extra=1),
        lambda c: c.pop("serial"),
        lambda c: c.update(serial="1"),
        lambda c: c.update(serial=-1),
        lambda c: c.update(expires=None),
        lambda c: c.update(expires=1e300),
        lambda c: c.update(approvals={}),
        lambda c: c.update(approvals=[None]),
        lambda c: c["approvals"].append(c["approvals"][0]),
        lambda c: c["approvals"][0].update(verdict="unverifiable"),
        lambda c: c["approvals"][0].update(verdict="fine"),
        lambda c: c["approvals"][0].update(artifact="0" * 64),
        lambda c: c["approvals"][0].update(artifact="../../x"),
        lambda c: c["approvals"][0].update(id="' OR 1=1"),
        lambda c: c["approvals"][0].update(files=[["", 3, "sha256:ff"]]),
        lambda c: c["approvals"][0].update(files=[["", "3", "sha256:aa"]]),
        lambda c: c["approvals"][0].update(files="x"),
        lambda c: c["approvals"][0].update(permissions={}),
        lambda c: c["approvals"][0]["permissions"].update(effects=[1]),
        lambda c: c["approvals"][0]["permissions"].update(containers=[]),
        lambda c: c["approvals"][0]["permissions"]["globals"][0].update(raw=[[1, 2]]),
        lambda c: c["approvals"][0].update(bulk=[["", 3, "ff"]]),
        lambda c: c["approvals"][0].update(bulk=[["", 3, "f" * 64]]),
        lambda c: c["approvals"][0].update(who=7),
        lambda c: c["approvals"][0].update(reason="x" * 100_000),
        lambda c: c["approvals"][0].update(created=True),
        lambda c: c.update(revocations=[{}]),
        lambda c: [c],
    ],
)
def test_content_that_cannot_be_is_refused_even_signed(made, key, change):
    assert refused(resigned(made, key, change), key)


def test_a_large_file_without_its_checksum(here, key, tmp_path):
    file = tmp_path / "big.pt"
    file.write_bytes(b"x" * 100)
    with open_path(file) as handle:
        here.remember(report("layout:1", size=100), handle, "ada", "")
    made = exported(here, key)
    assert made.bundle.entries[0].bulk == (("", 100, hashlib.sha256(b"x" * 100).hexdigest()),)
    assert "checksum" in refused(resigned(made, key, lambda c: c["approvals"][0].update(bulk=[])), key)


def test_a_repository_of_several_files_travels(here, there, key):
    files = tuple(ArtifactFile(p, 3, "pickle", f"sha256:{p}") for p in ("a.bin", "b.bin"))
    several = dataclasses.replace(report(), artifact=Artifact("org/name", "hub", files), target="org/name")
    companions = dataclasses.replace(report(), artifact=Artifact("m.joblib", "path", files), target="m.joblib")
    here.add(several, "ada", "")
    here.add(companions, "ada", "")
    assert outcomes(taken(there, exported(here, key), key)) == ["new", "new"]
    assert there.find(several) is not None


# --- databases of before ---------------------------------------------------------------------------------------------


def test_a_database_of_the_first_version_is_brought_to_this_one(tmp_path):
    from nbguard.approvals import database

    store = Store(tmp_path / "approvals.sqlite3")
    given = store.add(report(), "ada", "kept")
    with sqlite3.connect(store.path) as db:
        for column in ("revoked_by", "revoked_why", "origin"):
            db.execute(f"ALTER TABLE approvals DROP COLUMN {column}")
        for table in ("bundles", "withdrawn"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version = 1")
    assert store.list() == (given,)
    assert store.find(report()) == given
    assert sqlite3.connect(store.path).execute("PRAGMA user_version").fetchone() == (database.SCHEMA_VERSION,)


def test_a_public_key_is_one_line(key):
    assert PublicKey.read(key.public.line()) == key.public
