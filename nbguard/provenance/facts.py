"""What the Hub says about a repository and its owner, taken from its answers piece by piece.

    facts = facts_from_model_info(info, overview)      # huggingface_hub's objects, or the JSON they were made of
    facts.owner_verified, facts.created, facts.downloads
    [finding.message for finding in findings(facts, now)]      # "The repository was created 3 days ago."
    rows(facts, now)      # for the report's provenance

Nothing is asked for here and nothing of huggingface_hub is imported. Every answer may be missing, of another type, or
written by somebody hostile: what is not what it should be counts as not said, and texts are cut. What the Hub's own
scanners say is shown and never relied on: *unsafe* makes a report worse, and *safe* makes none better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from nbguard.report.model import Finding, Severity

TEXT = 200
"""Characters that are kept of a text."""
TAGS = 10
"""Tags that are kept."""
FILES = 10_000
"""Files whose status is read, and issues that are counted."""
IMPORTS = 50
"""Imports of one pickle that are kept."""
NEW = timedelta(days=30)
"""Age below which a repository or an account is said to be new."""
FEW_DOWNLOADS = 1_000
"""Downloads in 30 days up to which they are said to be few; the number that organisations' policies name."""
BAD = frozenset({"unsafe", "infected", "malicious"})
DOUBTFUL = frozenset({"suspicious", "caution", "warning"})
"""What the Hub's scanners say of a file that is not safe; `queued` or `unscanned` say that none has looked."""


@dataclass(frozen=True)
class FileSecurity:
    """What the Hub's scanners say of one file."""

    path: str
    status: str
    """`safe`, `unsafe`, `suspicious`, `queued`, `unscanned` …; the Hub's own word, in small letters."""
    scans: tuple[tuple[str, str], ...] = ()
    """Scanner → its word: `avScan`, `pickleImportScan` and whatever others the Hub has."""
    virus: bool = False
    imports: tuple[str, ...] = ()
    """What the Hub's pickle scanner found imported and does not call innocuous: `posix.system (dangerous)`."""

    @property
    def worst(self) -> str:
        """`unsafe`, `suspicious`, or the file's own status."""
        words = {self.status, *(word for _, word in self.scans)}
        if self.virus or words & BAD:
            return "unsafe"
        return "suspicious" if words & DOUBTFUL else self.status


@dataclass(frozen=True)
class HubFacts:
    """What a Hub said; everything it did not say is None or empty."""

    repo_id: str = ""
    """As the Hub calls it, which may be another name than the one that was asked for."""
    requested: str = ""
    """The name that was asked for."""
    commit: str = ""
    repo_key: str = ""
    """The Hub's own id of the repository (`_id`): a repository that is made anew has another one."""
    created: datetime | None = None
    modified: datetime | None = None
    private: bool | None = None
    disabled: bool | None = None
    gated: str = ""
    """`auto`, `manual`, or empty."""
    downloads: int | None = None
    """In the last 30 days."""
    downloads_ever: int | None = None
    likes: int | None = None
    library: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()
    owner: str = ""
    owner_key: str = ""
    """The Hub's own id of the account."""
    owner_name: str = ""
    owner_kind: str = ""
    """`organisation`, `person`, or empty."""
    owner_verified: bool | None = None
    """The Hub checked that the organisation is who it says."""
    owner_created: datetime | None = None
    owner_followers: int | None = None
    owner_models: int | None = None
    scans_done: bool | None = None
    issues: tuple[tuple[str, str], ...] = ()
    """Files with issues → the Hub's word, from the status of the repository."""
    files: tuple[FileSecurity, ...] = field(default=(), repr=False)

    @property
    def bad_files(self) -> tuple[tuple[str, str], ...]:
        """Files that the Hub's scanners call unsafe or suspicious, the worst first: path, word."""
        found: dict[str, str] = {}
        for path, word in (*self.issues, *((f.path, f.worst) for f in self.files)):
            word = "unsafe" if word in BAD else word
            if word == "unsafe" or (word in DOUBTFUL and found.get(path) != "unsafe"):
                found[path] = word
        return tuple(sorted(found.items(), key=lambda item: (item[1] != "unsafe", item[0])))


def facts_from_model_info(
    info: object, overview: object = None, *, requested: str = "", files: Iterable[object] = ()
) -> HubFacts:
    """The facts in what a Hub answered.

    Args:
        info: `HfApi.model_info(…, securityStatus=True, files_metadata=True)`, or its JSON.
        overview: `get_organization_overview` or `get_user_overview`, or their JSON; None where there is none.
        requested: the name that was asked for.
        files: entries of `list_repo_tree(…, expand=True)` or `get_paths_info(…, expand=True)`, or their JSON.
    """
    repo_id = _text(_get(info, "id", "modelId"))
    card = _get(info, "card_data", "cardData")
    gated = _get(info, "gated")
    tags = _texts(_get(info, "tags"))
    status = _get(info, "security_repo_status", "securityRepoStatus")
    return HubFacts(
        repo_id=repo_id,
        requested=_text(requested),
        commit=_text(_get(info, "sha")),
        repo_key=_text(_get(info, "_id")),
        created=moment(_get(info, "created_at", "createdAt")),
        modified=moment(_get(info, "last_modified", "lastModified")),
        private=_flag(_get(info, "private")),
        disabled=_flag(_get(info, "disabled")),
        gated="auto" if gated is True else _text(gated).lower(),
        downloads=_count(_get(info, "downloads")),
        downloads_ever=_count(_get(info, "downloads_all_time", "downloadsAllTime")),
        likes=_count(_get(info, "likes")),
        library=_text(_get(info, "library_name")),
        licence=_licence(card, tags),
        tags=tags[:TAGS],
        owner=_text(_get(info, "author")) or repo_id.rpartition("/")[0],
        scans_done=_flag(_get(status, "scansDone", "scans_done")),
        issues=tuple(_issues(_get(status, "filesWithIssues", "files_with_issues"))),
        files=tuple(_file_security(files)),
        **_owner(overview),
    )


def _owner(overview: object) -> dict[str, Any]:
    if overview is None:
        return {}
    person = bool(_text(_get(overview, "username", "user")))
    name = _text(_get(overview, "name"))
    return {
        "owner_key": _text(_get(overview, "_id")),
        "owner_name": _text(_get(overview, "fullname")) or name,
        "owner_kind": "person" if person else "organisation" if name else "",
        "owner_verified": None if person else _flag(_get(overview, "is_verified", "isVerified")),
        "owner_created": moment(_get(overview, "created_at", "createdAt")),
        "owner_followers": _count(_get(overview, "num_followers", "numFollowers")),
        "owner_models": _count(_get(overview, "num_models", "numModels")),
    }


def _licence(card: object, tags: tuple[str, ...]) -> str:
    said = _get(card, "license")
    if isinstance(said, (list, tuple)) and said:
        said = said[0]
    return _text(said) or next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")


def _issues(said: object) -> Iterator[tuple[str, str]]:
    for entry in said[:FILES] if isinstance(said, list) else ():
        path = _text(_get(entry, "path"))
        if path:
            yield path, _text(_get(entry, "level", "status")).lower() or "suspicious"


def _file_security(entries: Iterable[object]) -> Iterator[FileSecurity]:
    for entry, _ in zip(entries, range(FILES), strict=False):
        path = _text(_get(entry, "path"))
        said = _get(entry, "security", "securityFileStatus", "security_file_status")
        if not path or said is None:
            continue
        scans: dict[str, object] = {
            name: _get(said, name, other)
            for name, other in (("avScan", "av_scan"), ("pickleImportScan", "pickle_import_scan"))
        }
        if isinstance(said, Mapping):
            scans |= {str(k)[:40]: v for k, v in list(said.items())[:20] if isinstance(k, str) and k.endswith("Scan")}
        words = tuple((name, word) for name, scan in scans.items() if (word := _text(_get(scan, "status")).lower()))
        yield FileSecurity(
            path,
            _text(_get(said, "status")).lower(),
            words,
            virus=_get(scans["avScan"], "virusFound", "virus_found") is True,
            imports=tuple(_imports(scans["pickleImportScan"])),
        )


def _imports(scan: object) -> Iterator[str]:
    said = _get(scan, "pickleImports", "pickle_imports", "imports")
    for entry in said[:IMPORTS] if isinstance(said, list) else ():
        safety = _text(_get(entry, "safety")).lower()
        name = ".".join(part for part in (_text(_get(entry, "module")), _text(_get(entry, "name"))) if part)
        if name and safety != "innocuous":
            yield f"{name} ({safety or 'unknown'})"


def _get(holder: object, *names: str) -> object:
    """The first of `names` that is there and not None, in an object or a mapping."""
    for name in names:
        if isinstance(holder, Mapping):
            found = holder.get(name)
        else:
            found = getattr(holder, "__dict__", {}).get(name) if holder is not None else None
        if found is not None:
            return found
    return None


def _text(value: object) -> str:
    return value[:TEXT] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v[:TEXT] for v in value[:100] if isinstance(v, str)) if isinstance(value, (list, tuple)) else ()


def _count(value: object) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
    return int(value) if good else None  # type: ignore[call-overload]


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def moment(value: object) -> datetime | None:
    """A time in UTC, from a datetime, ISO 8601 or seconds since the epoch; None for others, or from before any Hub."""
    try:
        found = datetime.fromisoformat(value[:40]) if isinstance(value, str) else value
        if isinstance(found, int | float) and not isinstance(found, bool):
            found = datetime.fromtimestamp(found, UTC)
        if not isinstance(found, datetime):
            return None
        found = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found if 2016 <= found.year <= 9000 else None


# --- what follows from them ------------------------------------------------------------------------------------------


def findings(facts: HubFacts, now: datetime) -> list[Finding]:
    """What a person should know before loading, the worst first; `now` in UTC. A good fact is no finding."""
    where = facts.repo_id or facts.requested
    found: list[Finding] = []

    def say(rule: str, severity: Severity, message: str, meaning: str, remedy: str, evidence: str = "") -> None:
        found.append(Finding(f"publisher.{rule}", severity, where, "", message, evidence, meaning, remedy))

    bad = facts.bad_files
    if bad:
        worst = Severity.HIGH if bad[0][1] == "unsafe" else Severity.MEDIUM
        more = f" and {len(bad) - 1:,} more" if len(bad) > 1 else ""
        say("hub-scan", worst, f"The Hub's scanner says {bad[0][1]} of {bad[0][0]}{more}.",
            "The Hub scans what is uploaded, for viruses and for what pickles import.",
            "Do not load these files. Look at what the Hub says of them, and at the findings here.",
            "\n".join([*(f"{path}: {word}" for path, word in bad[:20]), *_evidence(facts)])[:2_000])  # fmt: skip
    elif facts.scans_done is False:
        say("hub-scan-pending", Severity.INFO, "The Hub has not scanned all files of this repository yet.",
            "What its scanners would say is not known.", "Look again later.")  # fmt: skip
    if facts.disabled:
        say("disabled", Severity.HIGH, "The Hub has disabled this repository.",
            "That happens to repositories that were reported.", "Do not load it.")  # fmt: skip
    for rule, severity, when, what in (
        ("new-repository", Severity.LOW, facts.created, "The repository"),
        ("new-account", Severity.LOW, facts.owner_created, "The publisher's account"),
    ):
        if when is not None and -timedelta(days=1) <= now - when < NEW:
            say(rule, severity, f"{what} was created {ago(when, now)}.",
                "Names that imitate known ones are new; so are many honest models.",
                "Make sure that this is the publisher you mean.")  # fmt: skip
    if facts.owner_verified is False and facts.owner_kind == "organisation":
        say("unverified", Severity.INFO, "The Hub has not verified this organisation.",
            "Anybody can open an organisation under any name that is free.",
            "Follow the link from the organisation's own website.")  # fmt: skip
    if facts.downloads is not None and facts.downloads <= FEW_DOWNLOADS:
        say("few-downloads", Severity.INFO, f"It was downloaded {_times(facts.downloads)} in the last 30 days.",
            "What few people use, few people have looked at.", "Look closer.")  # fmt: skip
    return sorted(found, key=lambda finding: -finding.severity)


def _evidence(facts: HubFacts) -> Iterator[str]:
    for file in facts.files:
        if file.worst in ("unsafe", "suspicious") and file.imports:
            yield f"{file.path} imports {', '.join(file.imports[:5])}"


def rows(facts: HubFacts, now: datetime) -> dict[str, str]:
    """The facts as rows of a report's provenance; only what was said. Hostile: escape it where it is shown."""
    said: dict[str, str] = {}
    if facts.owner:
        # What it is comes before what it calls itself: a name can say anything.
        verified = {True: "verified organisation", False: "organisation, not verified"}
        kind = facts.owner_kind if facts.owner_verified is None else verified[facts.owner_verified]
        said["owner"] = f"{kind}: “{facts.owner_name or facts.owner}”" if kind else "the Hub does not say who that is"
    for key, when in (
        ("account since", facts.owner_created),
        ("created", facts.created),
        ("last change", facts.modified),
    ):
        if when is not None:
            said[key] = f"{when:%Y-%m-%d} ({ago(when, now)})"
    counted = (("downloads in 30 days", facts.downloads), ("likes", facts.likes))
    said |= {key: f"{number:,}" for key, number in counted if number is not None}
    said |= {key: text for key, text in (("library", facts.library), ("licence", facts.licence)) if text}
    if facts.gated:
        said["gated"] = "the publisher lets people in" if facts.gated == "manual" else "after agreeing to terms"
    if facts.bad_files:
        said["the Hub's scanners"] = f"{_plural(len(facts.bad_files), 'file')} with issues"
    elif facts.scans_done is not None:
        said["the Hub's scanners"] = "nothing found (not relied on)" if facts.scans_done else "not done yet"
    return said


def ago(when: datetime, now: datetime) -> str:
    """`3 days ago`, `today`, `2 years ago`; `in the future` where a clock is wrong."""
    days = (now - when).days
    if days < 0:
        return "in the future"
    if days == 0:
        return "today"
    for size, word in ((365, "year"), (30, "month"), (1, "day")):
        if days >= size * (1 if word == "day" else 2):
            return _plural(days // size, word) + " ago"
    raise AssertionError("a day is a day")


def _plural(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(number, f"{number:,} times")
