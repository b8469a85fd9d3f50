"""`nbguard verify`, `checksums` and `sign`: what is what it should be, and a sentence for all that is not."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from huggingface_hub import snapshot_download
from loopback_hub import Hub
from sigstore_forge import Sigstore, authority, b64, usage

import nbguard
from nbguard.cli import main
from nbguard.errors import TargetError
from nbguard.provenance.checksums import VerificationError
from nbguard.provenance.signatures import SignatureInvalid, Trust, check_signature
from nbguard.provenance.signing import sign
from nbguard.provenance.verify import Verification, verify

FILES = {"model.safetensors": b"\x02\0\0\0\0\0\0\0{}", "config.json": b"{}", "sub/tokenizer.json": b"[]"}
WHO, PROVIDER = "me@example.org", "https://id.example.org"
needs_sha256sum = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")


def fill(root: Path) -> Path:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return fill(tmp_path / "model")


def write_key(folder: Path, name: str, key: Any = None, password: bytes | None = None) -> Path:
    """NAME.pem and NAME.pub; returns the first."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    protect = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    place = folder / f"{name}.pem"
    place.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protect))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    place.with_suffix(".pub").write_bytes(public)
    return place


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_key(tmp_path, "key")


@pytest.fixture
def signed(model: Path, key: Path) -> Path:
    sign(model, private_key=key)
    return model


def answered(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["verify", *map(str, arguments), "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


# --- checksums -------------------------------------------------------------------------------------------------------


def test_a_folder_is_what_its_checksums_say(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checksums", str(model)]) == 0
    assert "Wrote the checksums of 3 files" in capsys.readouterr().out
    code, found = answered(capsys, model)
    assert (code, found) == (
        0, {"verified": sorted(FILES), "failed": [], "missing": [], "extra": [], "all_verified": True},
    )  # fmt: skip
    assert main(["verify", str(model)]) == 0
    assert capsys.readouterr().out.endswith("model: all verified (3 verified).\n")


def test_what_is_changed_missing_or_beyond_is_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["checksums", str(model)])
    capsys.readouterr()
    (model / "config.json").write_bytes(b"[]")
    (model / "sub/tokenizer.json").rename(model / "sub/renamed.json")
    os.mkfifo(model / "pipe")
    (model / "link").symlink_to("config.json")
    (model / ".git").mkdir()
    code, found = answered(capsys, model)
    assert code == 1
    assert found == {
        "verified": ["model.safetensors"],
        "failed": [{
            "file": "config.json", "expected": hashlib.sha256(b"{}").hexdigest(),
            "actual": hashlib.sha256(b"[]").hexdigest(),
        }],
        "missing": ["sub/tokenizer.json"],
        "extra": [".git/", "link", "pipe", "sub/renamed.json"],
        "all_verified": False,
    }  # fmt: skip
    assert main(["verify", str(model)]) == 1
    shown = capsys.readouterr().out
    for line in ("CHANGED  config.json", "MISSING  sub/tokenizer.json", "EXTRA    pipe", "NOT VERIFIED (1 verified, 1"):
        assert line in shown


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_takes_the_place_of_a_file_is_not_read(model: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["checksums", str(model)])
    capsys.readouterr()
    place = model / "config.json"
    (model.parent / "same.json").write_bytes(place.read_bytes())
    place.unlink()
    if kind == "link":
        place.symlink_to(model.parent / "same.json")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    code, found = answered(capsys, model)
    assert code == 1
    assert [f["file"] for f in found["failed"]] + found["missing"] == ["config.json"]
    assert not found["extra"]
    if kind != "folder":
        assert ("symbolic link" if kind == "link" else "named pipe") in found["failed"][0]["actual"]


def test_files_beyond_the_list_count_unless_they_may_be_there(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["checksums", str(model)])
    (model / "extra.py").write_text("import os")
    capsys.readouterr()
    assert answered(capsys, model)[0] == 1
    code, found = answered(capsys, model, "--allow-extra")
    assert (code, found["extra"], found["all_verified"]) == (0, ["extra.py"], True)
    assert answered(capsys, model, "--allow", "extra.py")[0] == 0
    assert answered(capsys, model, "--allow", "other.py")[0] == 1
    (model / "config.json").unlink()
    assert answered(capsys, model, "--allow-extra")[0] == 1


def test_nothing_to_compare_with_is_never_all_verified(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target, said in ((model, "nothing to be compared with"), (model / "config.json", "nothing to be compared"),
                         (model / "none", "no file or folder"), ("", "empty path")):  # fmt: skip
        assert main(["verify", str(target)]) == 2
        assert said in capsys.readouterr().err
    (model / "checksums.sha256").write_text("")
    assert main(["verify", str(model)]) == 2
    (model / "checksums.sha256").write_text("nonsense\n")
    assert main(["verify", str(model), "--format", "json"]) == 2
    assert capsys.readouterr().out == ""
    empty = model.parent / "empty"
    empty.mkdir()
    (empty / "checksums.sha256").write_text(f"{'a' * 64}  x\n")
    assert main(["verify", str(empty), "--allow-extra"]) == 1


def test_another_list_is_taken_where_it_is_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = model.parent / "list.json"
    elsewhere.write_text(json.dumps({n: hashlib.sha256(d).hexdigest() for n, d in FILES.items()}))
    (model / "checksums.sha256").write_text("not looked at")
    assert answered(capsys, model, "--checksums", elsewhere)[0] == 0
    elsewhere.write_text(json.dumps({"../outside": "a" * 64}))
    assert main(["verify", str(model), "--checksums", str(elsewhere)]) == 2
    assert "inside the folder" in capsys.readouterr().err


def test_one_file_is_compared_alone(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["checksums", str(model)])
    capsys.readouterr()
    code, found = answered(capsys, model / "config.json")
    assert (code, found["verified"], found["extra"]) == (0, ["config.json"], [])
    code, _ = answered(capsys, model / "sub/tokenizer.json", "--checksums", model / "checksums.sha256")
    assert code == 0
    (model / "sub/tokenizer.json").write_bytes(FILES["config.json"])
    assert answered(capsys, model / "sub/tokenizer.json", "--checksums", model / "checksums.sha256")[0] == 1
    (model / "new.bin").write_bytes(b"")
    assert main(["verify", str(model / "new.bin")]) == 2
    assert "does not name new.bin" in capsys.readouterr().err
    (model / "new.bin.sha256").write_text(f"{hashlib.sha256(b'').hexdigest()}  new.bin\n")
    assert answered(capsys, model / "new.bin")[0] == 0


def test_hostile_names_come_out_as_escapes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["checksums", str(model)])
    (model / "a\x1b[31m\nb").write_bytes(b"")
    (model / os.fsdecode(b"\xff")).write_bytes(b"")
    capsys.readouterr()
    assert main(["verify", str(model)]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "a\\x1b[31m\\x0ab" in shown
    assert answered(capsys, model)[1]["extra"] == ["\\xff", "a\\x1b[31m\\x0ab"]


def test_the_magic_takes_the_options_of_the_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.error import UsageError

    from nbguard.magics import SafeModelMagics

    magics = SafeModelMagics(None)
    with pytest.raises(UsageError, match="nothing to be compared with"):
        magics.safemodel(f"verify '{model}'")
    main(["checksums", str(model)])
    magics.safemodel(f"verify '{model}' --format text")
    assert "all verified (3 verified)" in capsys.readouterr().out


def test_progress_is_told_up_to_the_end(model: Path) -> None:
    main(["checksums", str(model)])
    seen: list[tuple[float, str]] = []
    verify(model, progress=lambda share, what: seen.append((share, what)))
    assert max(seen)[0] == 1.0
    assert {what for _, what in seen} == set(FILES)


def test_a_mistyped_folder_is_said_to_be_no_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "m/nope"]) == 2
    assert "There is no file or folder m/nope; as a repository: m/nope is not in the cache" in capsys.readouterr().err


def test_the_function_says_the_same(model: Path) -> None:
    main(["checksums", str(model)])
    found = nbguard.verify(model)
    assert isinstance(found, Verification)
    assert found.all_verified
    assert found.verified == sorted(FILES)


# --- signatures with a key -------------------------------------------------------------------------------------------


def test_a_signed_folder_holds(signed: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answered(capsys, signed, "--public-key", key.with_suffix(".pub"))
    assert (code, found["verified"], found["all_verified"]) == (0, sorted(FILES), True)
    assert (found["signature"]["verified"], found["signature"]["method"]) == (True, "key")
    assert main(["checksums", str(signed)]) == 0  # neither covers the other
    assert answered(capsys.readouterr() and capsys, signed, "--public-key", key.with_suffix(".pub"))[0] == 0
    assert main(["verify", str(signed)]) == 0
    assert "model.sig was not checked" in capsys.readouterr().out


def test_the_tool_of_the_openssf_takes_it_and_the_other_way_round(signed: Path, key: Path, tmp_path: Path) -> None:
    from model_signing import hashing, signing, verifying

    public = key.with_suffix(".pub")
    main(["checksums", str(signed)])
    verifying.Config().use_elliptic_key_verifier(public_key=public).verify(signed, signed / "model.sig")
    (signed / ".gitattributes").write_text("*")
    sign(signed, private_key=key, overwrite=True)
    assert verify(signed, public_key=public).verified == sorted([*FILES, ".gitattributes"])
    everything = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(everything).verify(
        signed, signed / "model.sig"
    )
    theirs = tmp_path / "theirs.sig"
    (signed / "model.sig").unlink()
    (signed / "checksums.sha256").unlink()
    signing.Config().use_elliptic_key_signer(private_key=key).sign(signed, theirs)
    found = verify(signed, signature=theirs, public_key=public)
    assert (found.extra, found.failed, found.missing, found.all_verified) == ([".gitattributes"], [], [], False)
    assert verify(signed, signature=theirs, public_key=public, allow_extra=[".gitattributes"]).all_verified
    (signed / "other").write_text("")
    assert not verify(signed, signature=theirs, public_key=public, allow_extra=[".gitattributes"]).all_verified
    assert verify(signed, signature=theirs, public_key=public, allow_extra=True).all_verified


@pytest.mark.parametrize("algorithm", ["sha256", "blake2", "blake3"])
@pytest.mark.parametrize("shards", [False, True])
def test_other_digests_and_shards_of_that_tool_are_compared(
    model: Path, key: Path, algorithm: Any, shards: bool
) -> None:
    from model_signing import hashing, signing

    (model / "large.bin").write_bytes(os.urandom(2500))
    taken = hashing.Config()
    if shards:
        taken.use_shard_serialization(hashing_algorithm=algorithm, shard_size=1000)
    else:
        taken.use_file_serialization(hashing_algorithm=algorithm)
    signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(taken).sign(model, model / "model.sig")
    public = key.with_suffix(".pub")
    assert verify(model, public_key=public).all_verified
    with (model / "large.bin").open("ab") as file:
        file.write(b"more")
    found = verify(model, public_key=public)
    assert ([f.file for f in found.failed], found.all_verified) == (["large.bin"], False)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda root: (root / "config.json").write_bytes(b"[]"), "failed"),
        (lambda root: (root / "config.json").unlink(), "missing"),
        (lambda root: (root / "evil.py").write_bytes(b""), "extra"),
        (lambda root: (root / ".gitattributes").write_bytes(b""), "extra"),
        (lambda root: (root / ".git").mkdir(), "extra"),
        (lambda root: (root / "link").symlink_to("config.json"), "extra"),
    ],
)  # fmt: skip
def test_a_folder_that_was_changed_after_it_was_signed_does_not_pass(
    signed: Path, key: Path, change: Callable[[Path], None], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(signed)
    code, found = answered(capsys, signed, "--public-key", key.with_suffix(".pub"))
    assert (code, found["all_verified"], len(found[where])) == (1, False, 1)
    assert found["signature"]["verified"] is True


def problem_of(found: Verification) -> str:
    assert not found.all_verified
    assert found.verified == found.extra == found.missing == []
    assert found.signature is not None
    assert found.signature["verified"] is False
    return str(found.signature["problem"])


def test_another_key_does_not_do(signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_key(tmp_path, "other").with_suffix(".pub")
    assert "made with another key than" in problem_of(verify(signed, public_key=other))
    bundle = json.loads((signed / "model.sig").read_text())
    bundle["verificationMaterial"]["publicKey"]["hint"] = hashlib.sha256(other.read_bytes()).hexdigest()
    (signed / "model.sig").write_text(json.dumps(bundle))
    assert "does not fit what it signs" in problem_of(verify(signed, public_key=other))
    del bundle["verificationMaterial"]["publicKey"]["hint"]  # as signatures of old had it; the library prints then
    (signed / "model.sig").write_text(json.dumps(bundle))
    code, found = answered(capsys, signed, "--public-key", other)
    assert (code, found["signature"]["verified"]) == (1, False)


def altered(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the statement in a bundle, without signing it again."""
    bundle = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    bundle["dsseEnvelope"]["payload"] = b64(json.dumps(statement).encode())
    path.write_text(json.dumps(bundle))


def resigned(path: Path, key: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the statement in a bundle and sign it again, as one who has the key can."""
    altered(path, change)
    bundle = json.loads(path.read_text())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    statement = json.loads(payload)
    digests = b"".join(bytes.fromhex(r["digest"]) for r in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()
    payload = json.dumps(statement).encode()
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    bundle["dsseEnvelope"]["payload"] = b64(payload)
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = b64(private.sign(encoded, ec.ECDSA(hashes.SHA256())))
    path.write_text(json.dumps(bundle))


def test_an_altered_statement_does_not_hold(signed: Path, key: Path) -> None:
    altered(signed / "model.sig", lambda s: s["predicate"]["resources"].pop())
    assert "does not fit what it signs" in problem_of(verify(signed, public_key=key.with_suffix(".pub")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["predicate"]["resources"][0].update(name="../x"), "inside the folder"),
        (lambda s: s["predicate"]["resources"][0].update(name="/etc/passwd"), "inside the folder"),
        (lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]), "names a file twice"),
        (lambda s: s["predicate"]["resources"][0].update(name="./model.safetensors"), "names a file twice"),
        (lambda s: s["predicate"]["resources"].clear(), "names no file"),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), "Predicate type mismatch"),
        (lambda s: s.update(_type="x"), "does not hold"),
        (lambda s: s["predicate"].pop("serialization"), "does not hold"),
    ],
)  # fmt: skip
def test_a_statement_that_says_odd_things_does_not_hold_even_signed(
    signed: Path, key: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    resigned(signed / "model.sig", key, change)
    assert said in problem_of(verify(signed, public_key=key.with_suffix(".pub")))


def test_what_a_statement_leaves_out_or_calls_otherwise_is_not_verified(signed: Path, key: Path) -> None:
    public = key.with_suffix(".pub")
    resigned(signed / "model.sig", key, lambda s: s["predicate"]["resources"].pop(0))
    assert verify(signed, public_key=public).extra == ["config.json"]
    resigned(signed / "model.sig", key, lambda s: s["predicate"]["serialization"].update(ignore_paths=["config.json"]))
    assert not verify(signed, public_key=public).all_verified
    resigned(signed / "model.sig", key, lambda s: s["predicate"]["resources"][0].update(algorithm="md5"))
    assert "not compared" in verify(signed, public_key=public).failed[0].actual


def test_shards_that_do_not_cover_a_file_do_not_vouch_for_it(signed: Path, key: Path) -> None:
    data = FILES["model.safetensors"]

    def shards(statement: dict[str, Any]) -> None:
        statement["predicate"]["serialization"] = {
            "method": "shards", "hash_type": "sha256", "shard_size": 4, "allow_symlinks": False,
        }  # fmt: skip
        statement["predicate"]["resources"] = [
            {"name": f"model.safetensors:{a}:{b}", "algorithm": "sha256-sharded-4",
             "digest": hashlib.sha256(data[a:b]).hexdigest()} for a, b in spans
        ]  # fmt: skip

    for spans, holds in (
        ([(0, 4), (4, 10)], True), ([(0, 4)], False), ([(4, 10)], False), ([(0, 4), (6, 10)], False),
        ([(0, 4), (2, 10)], False), ([(0, 4), (4, 12)], False), ([(0, 4), (4, 10**30)], False), ([(-6, 10)], False),
        ([(4, 4)], False),
    ):  # fmt: skip
        resigned(signed / "model.sig", key, shards)
        found = verify(signed, public_key=key.with_suffix(".pub"), allow_extra=True)
        assert found.all_verified is holds, spans


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "[" * 50_000, '{"a":' * 50_000, "\xff", '{"verificationMaterial": {}}',
        '{"verificationMaterial": {"publicKey": {}}, "dsseEnvelope": {"payload": "e30=", "signatures": [{}]}}',
        '{"verificationMaterial": {"publicKey": 1}, "dsseEnvelope": {"payload": "e30=", "signatures": [1]}}',
        '{"verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []}, "mediaType": "x",'
        ' "dsseEnvelope": {"payload": "!", "payloadType": "", "signatures": [{"sig": "e30="}]}}',
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_no_signature(signed: Path, key: Path, text: str) -> None:
    (signed / "model.sig").write_bytes(text.encode("latin-1"))
    said = problem_of(verify(signed, public_key=key.with_suffix(".pub")))
    assert said.endswith(".")
    assert len(said) < 600


def test_bytes_that_are_changed_anywhere_never_vouch_for_anything_else(signed: Path, key: Path) -> None:
    trust = Trust(public_key=key.with_suffix(".pub"))
    place = signed / "model.sig"
    raw, good, chance = place.read_bytes(), check_signature(place, trust).pieces, random.Random(1)
    refused = 0
    for _ in range(300):
        at = chance.randrange(len(raw))
        change = chance.choice([b"", b"0", b'"', b"null", b"{}", b"\xff", bytes([chance.randrange(256)])])
        place.write_bytes(raw[:at] + change + raw[at + chance.choice([0, 1, 20]) :])
        try:
            assert check_signature(place, trust).pieces == good
        except SignatureInvalid:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("change", ["two signatures", "other type", "no media type"])
def test_a_bundle_that_is_put_together_otherwise_does_not_hold(signed: Path, key: Path, change: str) -> None:
    bundle = json.loads((signed / "model.sig").read_text())
    if change == "two signatures":
        bundle["dsseEnvelope"]["signatures"] *= 2
    elif change == "other type":
        bundle["dsseEnvelope"]["payloadType"] = "text/plain"
    else:
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v9+json"
    (signed / "model.sig").write_text(json.dumps(bundle))
    problem_of(verify(signed, public_key=key.with_suffix(".pub")))


def test_what_a_signature_cannot_be_checked_with_is_said(
    signed: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = key.with_suffix(".pub")
    other = write_key(tmp_path, "rsa", rsa.generate_private_key(65537, 2048)).with_suffix(".pub")
    (tmp_path / "text").write_text("text")
    for arguments, said in (
        ([], "has a signature but no checksums"),
        (["--signature", signed / "model.sig"], "needs the key"),
        (["--public-key", tmp_path / "none"], "no file or folder"),
        (["--public-key", tmp_path / "text"], "not a public key in PEM"),
        (["--public-key", key], "is a private key"),
        (["--public-key", other], "P-256, P-384 or P-521"),
        (["--public-key", public, "--certificate-chain", public], "name one"),
        (["--identity", WHO], "both the identity"),
        (["--identity", WHO, "--identity-provider", PROVIDER], "--online"),
        (["--public-key", public, "--signature", tmp_path / "none"], "no file or folder"),
    ):  # fmt: skip
        assert main(["verify", str(signed), *map(str, arguments)]) == 2, arguments
        assert said in capsys.readouterr().err
    (signed / "model.sig").unlink()
    assert main(["verify", str(signed), "--public-key", str(public)]) == 2
    assert "has no model.sig" in capsys.readouterr().err


def test_without_the_packages_it_says_which_to_install(
    signed: Path, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing.verifying", None)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    assert main(["verify", str(signed), "--public-key", str(key.with_suffix(".pub"))]) == 2
    assert "pip install 'nbguard[signing]'" in capsys.readouterr().err
    assert main(["sign", str(signed), "--private-key", str(key), "--overwrite"]) == 2


def test_signing_refuses_what_it_cannot_vouch_for(model: Path, key: Path, tmp_path: Path) -> None:
    (model / "link").symlink_to("config.json")
    with pytest.raises(TargetError, match="symbolic link"):
        sign(model, private_key=key)
    (model / "link").unlink()
    (model / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(TargetError, match="not UTF-8"):
        sign(model, private_key=key)
    (model / os.fsdecode(b"\xff")).unlink()
    assert not (model / "model.sig").exists()
    made = sign(model, private_key=key)
    assert made.files == tuple(sorted(FILES))
    with pytest.raises(VerificationError, match="there already"):
        sign(model, private_key=key)
    with pytest.raises(TargetError, match="no folder"):
        sign(model / "config.json", private_key=key)
    with pytest.raises(VerificationError, match="P-256"):
        sign(model, private_key=write_key(tmp_path, "rsa", rsa.generate_private_key(65537, 2048)), overwrite=True)
    with pytest.raises(VerificationError, match="no private key"):
        sign(model, private_key=key.with_suffix(".pub"), overwrite=True)


def test_a_key_with_a_password(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = write_key(tmp_path, "locked", ec.generate_private_key(ec.SECP384R1()), b"secret")
    command = ["sign", str(model), "--private-key", str(key)]
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - closed with the process
    monkeypatch.delenv("NBGUARD_KEY_PASSWORD", raising=False)
    assert main(command) == 2
    assert "needs its password" in capsys.readouterr().err
    monkeypatch.setenv("NBGUARD_KEY_PASSWORD", "wrong")
    assert main(command) == 2
    assert "may be wrong" in capsys.readouterr().err
    monkeypatch.setenv("NBGUARD_KEY_PASSWORD", "secret")
    assert main(command) == 0
    assert verify(model, public_key=key.with_suffix(".pub")).all_verified


# --- certificates ----------------------------------------------------------------------------------------------------


class Authority:
    """A root, one below it, and certificates for signers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = authority("Root of a test", self.root_key, self.now - datetime.timedelta(days=1000))
        self.chain = self.write("root.pem", self.root)

    def write(self, name: str, certificate: x509.Certificate) -> Path:
        place = self.folder / name
        place.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return place

    def issue(
        self, key: Path, *, start: int = -1, end: int = 30, uses: Any = ExtendedKeyUsageOID.CODE_SIGNING,
        signs: bool = True,
    ) -> Path:  # fmt: skip
        """A certificate for the key, valid from and until so many days from now."""
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Models \x1b[31m")]))
            .issuer_name(self.root.subject).public_key(private.public_key())  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now + datetime.timedelta(days=start))
            .not_valid_after(self.now + datetime.timedelta(days=end))
            .add_extension(usage(digital_signature=signs, key_agreement=not signs), critical=True)
        )  # fmt: skip
        if uses is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([uses]), critical=False)
        return self.write("signer.pem", builder.sign(self.root_key, hashes.SHA256()))


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_certificate_that_leads_to_the_root_holds(
    model: Path, key: Path, ca: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sign", str(model), "--private-key", str(key), "--certificate", str(ca.issue(key))]
    assert main([*command, "--certificate-chain", str(ca.chain)]) == 0
    capsys.readouterr()
    code, found = answered(capsys, model, "--certificate-chain", ca.chain)
    assert (code, found["signature"]["method"]) == (0, "certificate")
    assert found["signature"]["signer"]["subject"].startswith("CN=Models")
    assert main(["verify", str(model), "--certificate-chain", str(ca.chain)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    (model / "config.json").write_bytes(b"")
    assert answered(capsys, model, "--certificate-chain", ca.chain)[0] == 1


@pytest.mark.parametrize(
    ("issued", "said"),
    [
        ({"start": -500, "end": -1}, "expired on"),
        ({"start": 1, "end": 30}, "is valid from"),
        ({"uses": ExtendedKeyUsageOID.SERVER_AUTH}, "something else than signing"),
        ({"uses": None, "signs": False}, "not one for signing"),
    ],
)
def test_a_certificate_that_does_not_hold_today_or_for_this_does_not_do(
    model: Path, key: Path, ca: Authority, issued: dict[str, Any], said: str
) -> None:
    sign(model, private_key=key, certificate=ca.issue(key, **issued))
    assert said in problem_of(verify(model, certificate_chain=ca.chain))


def test_one_who_may_sign_models_may_not_make_others_signers(
    model: Path, key: Path, ca: Authority, tmp_path: Path
) -> None:
    middle = write_key(tmp_path, "middle")
    middle_certificate = x509.load_pem_x509_certificate(ca.issue(middle).read_bytes())
    private = serialization.load_pem_private_key(middle.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    chain = ca.write("between.pem", middle_certificate)
    ca.root_key, ca.root = private, middle_certificate
    sign(model, private_key=key, certificate=ca.issue(key), certificate_chain=[chain])
    assert "does not lead to" in problem_of(verify(model, certificate_chain=ca.chain))


def test_another_root_does_not_do(model: Path, key: Path, ca: Authority, tmp_path: Path) -> None:
    sign(model, private_key=key, certificate=ca.issue(key), certificate_chain=[ca.chain])
    (tmp_path / "other").mkdir()
    assert "does not lead to" in problem_of(verify(model, certificate_chain=Authority(tmp_path / "other").chain))
    with pytest.raises(VerificationError, match="holds no certificate"):
        verify(model, certificate_chain=key.with_suffix(".pub"))
    assert "is checked with --certificate-chain" in problem_of(verify(model, public_key=key.with_suffix(".pub")))
    with pytest.raises(VerificationError, match="does not match"):
        sign(model, private_key=write_key(tmp_path, "two"), certificate=tmp_path / "signer.pem", overwrite=True)
    with pytest.raises(VerificationError, match="goes with a certificate"):
        sign(model, private_key=key, certificate_chain=[ca.chain], overwrite=True)


# --- Sigstore, with a trust root of one's own ------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def keyless(signed: Path) -> tuple[Path, Sigstore]:
    """A folder that WHO signed through a Sigstore of its own."""
    forge = Sigstore()
    payload = base64.b64decode(json.loads((signed / "model.sig").read_text())["dsseEnvelope"]["payload"])
    (signed / "model.sig").write_text(json.dumps(forge.bundle(payload, WHO, PROVIDER)))
    return signed, forge


@pytest.mark.parametrize("whole", [False, True])
def test_a_sigstore_bundle_holds_offline_with_a_given_root(
    keyless: tuple[Path, Sigstore], no_network: None, tmp_path: Path, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model, forge = keyless
    options = ["--identity", WHO, "--identity-provider", PROVIDER, "--trust-config"]
    trust = forge.write_trust(tmp_path / "trust.json", whole=whole)
    code, found = answered(capsys, model, *options, trust)
    assert (code, found["all_verified"], found["signature"]["signer"]["identity"]) == (0, True, WHO)
    (model / "config.json").write_bytes(b"changed")
    assert answered(capsys, model, *options, trust)[0] == 1


def test_another_identity_provider_or_root_does_not_do(
    keyless: tuple[Path, Sigstore], no_network: None, tmp_path: Path
) -> None:
    model, forge = keyless
    trust = forge.write_trust(tmp_path / "trust.json")
    good: dict[str, Any] = {"identity": WHO, "identity_provider": PROVIDER, "trust_config": trust}
    for other, said in (
        ({"identity": "you@example.org"}, "somebody else"),
        ({"identity_provider": "https://other.example.org"}, "somebody else"),
        ({"trust_config": Sigstore().write_trust(tmp_path / "other.json")}, "does not hold"),
    ):
        assert said in problem_of(verify(model, **{**good, **other}))
    (tmp_path / "bad.json").write_text("{")
    for content in ("{", "[]", "{}", json.dumps({"trustedRoot": {}}), json.dumps(forge.trust() | {"tlogs": []})):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(VerificationError, match=r"root"):
            verify(model, **{**good, "trust_config": tmp_path / "bad.json"})


def test_a_sigstore_bundle_that_was_altered_does_not_hold(
    keyless: tuple[Path, Sigstore], no_network: None, tmp_path: Path
) -> None:
    model, forge = keyless
    trust = forge.write_trust(tmp_path / "trust.json")
    whole = (model / "model.sig").read_text()

    def found() -> Verification:
        return verify(model, identity=WHO, identity_provider=PROVIDER, trust_config=trust)

    altered(model / "model.sig", lambda s: s["predicate"]["resources"].pop())
    problem_of(found())
    for part in ("inclusionPromise", "inclusionProof", "integratedTime", "canonicalizedBody"):
        bundle = json.loads(whole)
        del bundle["verificationMaterial"]["tlogEntries"][0][part]
        (model / "model.sig").write_text(json.dumps(bundle))
        problem_of(found())
    bundle = json.loads(whole)
    bundle["verificationMaterial"]["tlogEntries"] = []
    (model / "model.sig").write_text(json.dumps(bundle))
    problem_of(found())
    bundle = json.loads(whole)
    bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1"
    (model / "model.sig").write_text(json.dumps(bundle))
    problem_of(found())
    (model / "model.sig").write_text(whole)
    assert found().all_verified


def test_without_a_root_nothing_is_fetched(keyless: tuple[Path, Sigstore], no_network: None) -> None:
    with pytest.raises(VerificationError, match="--trust-config"):
        verify(keyless[0], identity=WHO, identity_provider=PROVIDER)
    with pytest.raises(VerificationError, match="cannot be used"):
        verify(keyless[0], identity=WHO, identity_provider=PROVIDER, online=True)


# --- repositories in the Hub's cache ---------------------------------------------------------------------------------


@pytest.fixture
def cached(hub: Hub, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A repository of this test's own and its snapshot."""
    name = f"verify/{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    hub.store.push(name, {**FILES, "pytorch_model.bin": b"large", ".gitattributes": b"*.bin filter=lfs"})
    return name, Path(snapshot_download(name))


def test_a_repository_is_what_the_hub_said(
    cached: tuple[str, Path], no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    name, snapshot = cached
    wanted = sorted([*FILES, "pytorch_model.bin", ".gitattributes"])
    for target in (name, f"hf://{name}", f"{name}@main", f"{name}@{snapshot.name}", snapshot):
        code, found = answered(capsys, target)
        assert (code, found["verified"], found["extra"]) == (0, wanted, [])
    assert main(["verify", name]) == 0
    assert "digests that the Hub gave" in capsys.readouterr().out
    assert answered(capsys, snapshot / "config.json")[1]["verified"] == ["config.json"]
    assert answered(capsys, snapshot / "sub/tokenizer.json")[0] == 0
    assert main(["verify", "verify/never-seen"]) == 2
    assert "not in the cache" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["pytorch_model.bin", "config.json"])
def test_a_blob_that_was_changed_is_named(
    cached: tuple[str, Path], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, snapshot = cached
    blob = (snapshot / file).resolve()
    blob.write_bytes(b"tampered")
    code, found = answered(capsys, name)
    assert (code, [f["file"] for f in found["failed"]]) == (1, [file])
    assert found["failed"][0]["expected"] == blob.name
    blob.unlink()
    code, found = answered(capsys, name)
    assert (code, found["missing"]) == (1, [file])


def test_what_was_put_into_a_snapshot_is_beyond(
    cached: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, snapshot = cached
    (snapshot / "evil.py").write_text("x")
    (tmp_path / "outside").write_text("x")
    (snapshot / "link.py").symlink_to(tmp_path / "outside")
    (snapshot / "inner.py").symlink_to(snapshot / "evil.py")
    code, found = answered(capsys, name)
    assert (code, found["extra"], found["failed"]) == (1, ["evil.py", "inner.py", "link.py"], [])


def test_a_snapshot_of_links_is_signed_and_verified_without_a_copy(
    cached: tuple[str, Path], key: Path, tmp_path: Path
) -> None:
    name, snapshot = cached
    signature = tmp_path / "of-the-snapshot.sig"
    sign(snapshot, private_key=key, signature=signature)
    public = key.with_suffix(".pub")
    assert verify(name, signature=signature, public_key=public).all_verified
    sign(snapshot, private_key=key)
    assert verify(name, public_key=public).all_verified
    assert verify(name).all_verified
    (snapshot / "model.sig").unlink()
    plain = tmp_path / "plain"
    shutil.copytree(snapshot, plain)
    assert verify(plain, signature=signature, public_key=public).all_verified
    (snapshot / "config.json").resolve().write_bytes(b"[]")
    found = verify(name, signature=signature, public_key=public)
    assert [f.file for f in found.failed] == ["config.json"]


@needs_sha256sum
def test_checksums_of_a_snapshot_are_read_there(cached: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    name, snapshot = cached
    assert main(["checksums", str(snapshot)]) == 0
    subprocess.run(["sha256sum", "--check", "--quiet", "checksums.sha256"], cwd=snapshot, check=True)
    capsys.readouterr()
    assert answered(capsys, name)[0] == 0
    (snapshot / "config.json").resolve().write_bytes(b"[]")
    code, found = answered(capsys, name)
    assert (code, [f["file"] for f in found["failed"]], len(found["verified"])) == (1, ["config.json"], 4)


def test_a_list_that_the_publisher_put_into_the_repository_is_not_taken_unasked(hub: Hub) -> None:
    hub.store.push("verify/lists", {**FILES, "checksums.sha256": b"nonsense"})
    snapshot = Path(snapshot_download("verify/lists"))
    assert verify("verify/lists").all_verified
    assert verify(snapshot).all_verified
    assert verify(snapshot / "config.json").all_verified
    with pytest.raises(VerificationError, match="not a line"):
        verify("verify/lists", checksums=snapshot / "checksums.sha256")
