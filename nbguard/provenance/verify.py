"""Compare files with what they should be: checksums, a signature, or the names that the Hub's cache gives its blobs.

    found = nbguard.verify("model", public_key="key.pub")
    found.all_verified, found.failed, found.missing, found.extra

Files beyond those that are named make the whole not verified: what nobody vouched for could be what is loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbguard.artifact.folders import blob_folder
from nbguard.artifact.hub import list_repo
from nbguard.artifact.hub_listing import is_repo_id, snapshot_folder
from nbguard.artifact.names import problem, shown
from nbguard.errors import TargetError, TargetMissing
from nbguard.provenance.checksums import MANIFEST, VerificationError, read_manifest
from nbguard.provenance.digests import SIGNATURE, Entry, Found, Job, Progress, digests, inside, list_folder, size_of
from nbguard.provenance.signatures import Piece, SignatureInvalid, Trust, check_signature, paths_of

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")
Pieces = Mapping[str, tuple[Piece, ...]]


@dataclass(frozen=True)
class Failed:
    """One file that is not what it should be."""

    file: str
    expected: str
    """Hex of its digest."""
    actual: str
    """Hex of its digest, or a sentence that says why there is none."""

    def to_json(self) -> dict[str, str]:
        return {"file": self.file, "expected": self.expected, "actual": self.actual}


@dataclass
class Verification:
    """What a comparison found. Names are relative to the folder, with what cannot be shown as `\\xNN`."""

    target: str
    verified: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    """What was compared with what, a sentence each."""
    notes: list[str] = field(default_factory=list)
    """What was not compared, a sentence each."""
    signature: dict[str, Any] | None = None
    """`file`, `verified`, and `method` and `signer`, or `problem`; None where no signature was asked for."""
    allowed: bool | frozenset[str] = False
    """Files that may be there beyond those named: any, or these."""

    @property
    def all_verified(self) -> bool:
        """Every file is what it should be, none is missing or beyond, and a signature that was asked for holds."""
        signed = self.signature is None or bool(self.signature["verified"])
        beyond = [] if self.allowed is True else [n for n in self.extra if n not in (self.allowed or ())]
        return bool(self.verified) and signed and not (self.failed or self.missing or beyond)

    def to_json(self) -> dict[str, Any]:
        """As `--format json` prints it; `signature` is there where one was asked for."""
        made: dict[str, Any] = {
            "verified": self.verified,
            "failed": [f.to_json() for f in self.failed],
            "missing": self.missing,
            "extra": self.extra,
            "all_verified": self.all_verified,
        }
        if self.signature is not None:
            made["signature"] = self.signature
        return made


def verify(
    target: str | os.PathLike[str],
    *,
    checksums: str | os.PathLike[str] | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    certificate_chain: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] | None = None,
    identity: str | None = None,
    identity_provider: str | None = None,
    trust_config: str | os.PathLike[str] | None = None,
    online: bool = False,
    allow_extra: bool | Iterable[str] = False,
    revision: str | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare a folder, a file, or a Hub repository in the cache with what it should be.

    With nothing named, a folder is compared with the `checksums.sha256` in it, a file with its line there or with
    `FILE.sha256` beside it, and a repository's files with the digests that the cache knows them by.

    Args:
        target: a path, or `org/name[@revision]`, of which only the cache is looked into.
        checksums: a file of SHA-256 digests (`sha256sum`, BSD, JSON), with names relative to the folder.
        signature: an OpenSSF model signature; `model.sig` in the folder (for a file, `FILE.sig` beside it) when None.
        public_key: PEM of the key that has to have signed.
        certificate_chain: PEM files that the signer's certificate has to lead to.
        identity: who has to have signed through Sigstore.
        identity_provider: who has to have vouched for that identity.
        trust_config: Sigstore's trust root.
        online: fetch Sigstore's public trust root where none is given; nothing else is ever looked up.
        allow_extra: files beyond those named do not make the whole not verified; or only these do not, as they are
            listed (`.gitattributes`, `.git/`).
        revision: branch, tag or commit of a repository.
        progress: called with the share done (0 to 1) and what is being read, from any thread.

    Raises:
        TargetError: the target is not there or cannot be listed.
        VerificationError: there is nothing to compare with, or it cannot be read. One plain sentence.
    """
    trust = Trust(public_key, paths_of(certificate_chain), identity, identity_provider, trust_config, online)
    if signature is not None and not trust:
        raise VerificationError(
            "A signature needs the key, the certificate chain, or the identity and provider that have to have made it."
        )
    place = _place(target, revision)
    place.found.progress = progress
    if trust:
        signature = signature if signature is not None else place.beside(SIGNATURE, ".sig")
        if signature is None:
            raise VerificationError(f"{place.label} has no {place.named(SIGNATURE, '.sig')}; name it with --signature.")
    elif checksums is None:
        checksums = place.beside(MANIFEST, ".sha256")
        if checksums is not None and place.commit is not None and os.path.islink(checksums):
            checksums = None  # a file of the repository: whoever put it there also put the others there
    allowed = allow_extra if isinstance(allow_extra, bool) else frozenset(paths_of(allow_extra))
    found = Verification(place.label, allowed=allowed)
    exempt = set() if place.single else {MANIFEST, SIGNATURE, *inside(place.found, (checksums, signature))}
    parts: list[_Compared] = []
    if checksums is not None:
        parts.append(_with_checksums(place, checksums, exempt, found))
    if trust and signature is not None:
        parts += _with_signature(place, signature, trust, exempt, found)
    if not trust and (place.commit is not None or checksums is None):
        parts += _with_blobs(place, exempt, found)
    if not parts and found.signature is None:
        raise VerificationError(_nothing(place))
    if not trust and place.beside(SIGNATURE, ".sig") is not None:
        found.notes.append(f"{place.named(SIGNATURE, '.sig')} was not checked: name the key, chain or identity for it.")
    _merge(found, parts)
    return found


@dataclass
class _Place:
    """Where the target lies."""

    label: str
    found: Found
    commit: str | None = None
    """Of a repository in the Hub's cache."""
    single: str | None = None
    """The one name that is compared."""

    def named(self, in_folder: str, suffix: str) -> str:
        return in_folder if self.single is None else f"{shown(self.single)}{suffix}"

    def beside(self, in_folder: str, suffix: str) -> str | None:
        """The path of the checksums or signature that lie with the target, where there are any."""
        names = [in_folder] if self.single is None else [self.single + suffix, in_folder]
        paths = (os.path.join(self.found.root, name) for name in names)
        return next((path for path in paths if os.path.lexists(path)), None)


def _place(target: str | os.PathLike[str], revision: str | None) -> _Place:
    name = os.fsdecode(target)
    label = shown(name)[:400]
    if not name or "\0" in name:
        raise TargetError("An empty path or one with a NUL byte in it names no file.")
    path = os.path.expanduser(name)
    if name.startswith("hf://") or not os.path.lexists(path):
        bare, _, named = name.removeprefix("hf://").partition("@")
        if not is_repo_id(bare) or not (name.startswith("hf://") or bare.count("/") == 1):
            raise TargetMissing(f"There is no file or folder {label}.", name)
        try:
            listing = list_repo(bare, revision=revision or named or None, offline=True)
        except TargetError as error:
            if not name.startswith("hf://"):
                error.args = (f"There is no file or folder {label}; as a repository: {error.args[0]}", *error.args[1:])
            raise
        return _Place(label, list_folder(snapshot_folder(listing)), listing.commit)
    if os.path.isdir(path):
        found = list_folder(path)
        commit = os.path.basename(found.root)
        return _Place(label, found, commit if blob_folder(found.root) and _GIT.fullmatch(commit) else None)
    return _single(path, label)


def _single(path: str, label: str) -> _Place:
    """One file, as the only one of its folder."""
    absolute = os.path.abspath(path)
    root, name = os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute)
    full = os.path.join(root, name)
    try:
        real = os.path.realpath(full, strict=True)
    except OSError as error:
        raise problem(error, label) from None
    if not os.path.islink(full):
        return _Place(label, Found(root, {name: Entry(name)}), single=name)
    snapshot = _snapshot_above(root)
    if snapshot is None or os.path.dirname(real) != blob_folder(snapshot):
        return _single(real, label)  # named by a person, who may name it by a link
    relative = os.path.relpath(full, snapshot).replace(os.sep, "/")
    commit = os.path.basename(snapshot)
    found = Found(snapshot, {relative: Entry(relative, os.path.basename(real))})
    return _Place(label, found, commit if _GIT.fullmatch(commit) else None, single=relative)


def _snapshot_above(folder: str) -> str | None:
    """The snapshot of the Hub's cache that `folder` is or lies in."""
    while blob_folder(folder) is None:
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _nothing(place: _Place) -> str:
    if place.beside(SIGNATURE, ".sig") is not None:
        return (
            f"{place.label} has a signature but no checksums: name the key, certificate chain or identity to check"
            " it with (--public-key, --certificate-chain, --identity)."
        )
    return f"{place.label} has nothing to be compared with: no {place.named(MANIFEST, '.sha256')} is there."


@dataclass
class _Compared:
    """What one comparison found; names as the file system has them."""

    verified: set[str] = field(default_factory=set)
    failed: dict[str, Failed] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    extra: set[str] = field(default_factory=set)


def _merge(found: Verification, parts: list[_Compared]) -> None:
    """A file is verified where nothing that was compared speaks against it."""
    failed: dict[str, Failed] = {}
    for part in parts:
        failed = {**part.failed, **failed}
    missing = set().union(*(p.missing for p in parts))
    extra = set().union(*(p.extra for p in parts)) - set(failed)
    verified = set().union(*(p.verified for p in parts)) - set(failed) - missing - extra
    found.failed = [failed[name] for name in sorted(failed)]
    found.verified, found.missing, found.extra = (sorted(map(shown, names)) for names in (verified, missing, extra))


def _with_checksums(place: _Place, path: str | os.PathLike[str], exempt: set[str], found: Verification) -> _Compared:
    expected = {name: (Piece("sha256", value),) for name, value in read_manifest(path).items()}
    label = shown(os.path.basename(os.fsdecode(path)))
    found.compared.append(f"SHA-256 of the files with {label}, which does not say who made it.")
    return _compare(place, _of_single(place, expected, path), exempt)


def _with_signature(
    place: _Place, path: str | os.PathLike[str], trust: Trust, exempt: set[str], found: Verification
) -> list[_Compared]:
    label = shown(os.path.basename(os.fsdecode(path)))
    try:
        signed = check_signature(path, trust)
    except SignatureInvalid as error:
        found.signature = {"file": label, "verified": False, "method": trust.method, "problem": str(error)}
        return []
    found.signature = {"file": label, "verified": True, "method": signed.method, "signer": dict(signed.signer)}
    found.compared.append(f"Digests of the files with the statement signed in {label}.")
    return [_compare(place, _of_single(place, signed.pieces, path), exempt)]


def _with_blobs(place: _Place, exempt: set[str], found: Verification) -> list[_Compared]:
    """Compare what a snapshot links to with the digests by which the cache calls it."""
    expected: dict[str, tuple[Piece, ...]] = {}
    for name, entry in place.found.entries.items():
        kind = "sha256" if _SHA256.fullmatch(entry.blob) else "git" if _GIT.fullmatch(entry.blob) else ""
        if kind:
            expected[name] = (Piece(kind, entry.blob),)
    if not expected:
        return []
    found.compared.append(
        "Files in the Hub's cache with the digests that the Hub gave for them when they were downloaded (SHA-256 of"
        " large files, git's SHA-1 of small ones); files of the commit that were never downloaded are not known here."
    )
    return [_compare(place, expected, exempt)]


def _of_single(place: _Place, expected: Pieces, path: str | os.PathLike[str]) -> Pieces:
    """What is expected of the one file, under the name by which it stands there; all of it for a folder."""
    if place.single is None:
        return expected
    folder = Found(os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path)))))
    names = [*inside(folder, [os.path.join(place.found.root, place.single)]), place.single]
    if len(expected) == 1:
        names.append(".")
    for name in names:
        if name in expected:
            return {place.single: expected[name]}
    raise VerificationError(f"{shown(os.path.basename(os.fsdecode(path)))} does not name {shown(place.single)}.")


def _compare(place: _Place, expected: Pieces, exempt: set[str]) -> _Compared:
    found, made = place.found, _Compared()
    made.missing = {name for name in expected if name not in found.entries or _gone(found, name)}
    made.extra = {name for name in found.entries if name not in expected and name not in exempt}
    made.extra |= set(found.unwalked)
    there = [name for name in expected if name not in made.missing]
    actual = digests(found, (_job(name, piece) for name in there for piece in expected[name]))
    for name in there:
        pieces = expected[name]
        wrong = _gap(found, name, pieces)
        for piece in pieces:
            value = actual[_job(name, piece)]
            if wrong is None and value != piece.hex:
                wrong = Failed(shown(name), piece.hex, str(value))
        if wrong is None:
            made.verified.add(name)
        else:
            made.failed[name] = wrong
    return made


def _job(name: str, piece: Piece) -> Job:
    return Job(name, piece.algorithm, piece.start, piece.end)


def _gone(found: Found, name: str) -> bool:
    """A link whose content is not there any more, such as a blob that was deleted from the cache."""
    return bool(found.entries[name].problem) and not os.path.exists(os.path.join(found.root, name))


def _gap(found: Found, name: str, pieces: tuple[Piece, ...]) -> Failed | None:
    """What is wrong where a file is vouched for in pieces that are not all of it."""
    if len(pieces) == 1 and pieces[0].start == 0 and pieces[0].end is None:
        return None
    at = 0
    for piece in pieces:
        if piece.start != at or piece.end is None or piece.end <= at:
            return Failed(shown(name), pieces[0].hex, "The signature does not cover the whole file.")
        at = piece.end
    try:
        size = size_of(found, name)
    except TargetError as error:
        return Failed(shown(name), pieces[0].hex, str(error))
    if size != at:
        return Failed(shown(name), f"{at:,} bytes", f"{size:,} bytes")
    return None
