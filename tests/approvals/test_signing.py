"""Keys: private ones are for one user's eyes, public ones are trusted on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbguard.approvals import signing
from nbguard.approvals.signing import PrivateKey, PublicKey, SigningError, forget, listed, trust, trusted


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(signing, "SITE_KEYS", tmp_path / "site_keys")


def test_a_private_key_is_private_and_stays_what_it_is():
    made = PrivateKey.make("platform")
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    assert PrivateKey.read("platform") == made
    assert PrivateKey.all() == (made,)
    signature = PrivateKey.read("platform").sign(b"message")
    assert made.public.holds(signature, b"message")
    assert not made.public.holds(signature, b"messagE")
    assert not made.public.holds(signature[:-1], b"message")
    with pytest.raises(SigningError, match="already"):
        PrivateKey.make("platform")
    assert PrivateKey.read("platform") == made


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\nb", ".hidden", "x" * 65, "a b"])
def test_a_name_that_could_be_a_path_is_refused(name):
    with pytest.raises(SigningError, match="letters"):
        PrivateKey.make(name)


def test_a_private_key_that_others_can_read_is_not_used():
    made = PrivateKey.make("platform")
    made.path.chmod(0o640)
    with pytest.raises(SigningError, match="read by others"):
        made.sign(b"message")


def test_a_link_in_place_of_a_private_key_is_refused(tmp_path):
    made = PrivateKey.make("platform")
    made.path.rename(tmp_path / "elsewhere")
    made.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SigningError):
        PrivateKey.read("platform")


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff" * 100]
)
def test_a_file_that_is_no_key(text):
    made = PrivateKey.make("platform")
    made.path.write_bytes(text)
    with pytest.raises(SigningError, match="not a private key"):
        PrivateKey.read("platform")


def test_a_key_of_another_kind(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519

    made = PrivateKey.make("platform")
    other = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made.path.write_bytes(other)
    with pytest.raises(SigningError, match="not an Ed25519 key"):
        PrivateKey.read("platform")


def test_no_key_of_that_name():
    with pytest.raises(SigningError, match="keys new"):
        PrivateKey.read("nobody")


def test_trusting_and_forgetting():
    one, two = PrivateKey.make("one").public, PrivateKey.make("two").public
    assert trusted() == {}
    assert trust(one)
    assert trust(two)
    assert not trust(one)
    assert set(trusted()) == {one.id, two.id}
    assert trusted()[one.id].where == "user"
    assert forget(one.id[:12]).name == "one"
    assert set(trusted()) == {two.id}
    with pytest.raises(SigningError):
        forget("one")


def test_the_sites_keys_hold_for_everybody_and_can_be_the_only_ones(tmp_path, monkeypatch):
    site, own = PrivateKey.make("site").public, PrivateKey.make("own").public
    (tmp_path / "site_keys").write_text(f"# the platform team\n\n{site.line()}\n")
    trust(own)
    assert {k.id: k.where for k in trusted().values()} == {site.id: "site", own.id: "user"}
    config = tmp_path / "config.toml"
    config.write_text("[approvals]\nuser_keys = false\n")
    monkeypatch.setenv("NBGUARD_CONFIG", str(config))
    assert set(trusted()) == {site.id}
    assert [k.id for k in listed("user")] == [own.id]


@pytest.mark.parametrize(
    "line", ["", "nbguard-ed25519", "ssh-ed25519 AAAA x", "nbguard-ed25519 AAAA x", "nbguard-ed25519 !! x"]
)
def test_a_line_that_is_no_public_key(line):
    with pytest.raises(SigningError):
        PublicKey.read(line)


def test_a_list_that_others_can_write_or_that_is_damaged_stops_everything(tmp_path):
    trust(PrivateKey.make("one").public)
    path = tmp_path / "data" / "trusted_keys"
    path.chmod(0o666)
    with pytest.raises(SigningError, match="written by others"):
        trusted()
    path.chmod(0o600)
    path.write_text("nonsense\n")
    with pytest.raises(SigningError, match="Line 1"):
        trusted()
