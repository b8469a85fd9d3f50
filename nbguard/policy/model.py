"""What a policy holds, what a decision says.

policy = Policy.from_mapping("ours", tomllib.loads(text)["ours"])
decide(report, policy, Situation(person=True)).action
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from nbguard.artifact.model import LoadRequest, SourceKind
from nbguard.errors import NbguardError

if TYPE_CHECKING:
    from nbguard.approvals.model import Approval

Action = Literal["allow", "ask", "deny"]
Form = Literal["compact", "full", "danger", "blocked"]

SOURCE_KINDS: tuple[str, ...] = get_args(SourceKind)
OFFERS = ("once", "always")
VERDICTS = ("safe", "review", "danger")
"""Those that can be approved."""
MOST_DAYS = 3_650
"""An approval for longer than ten years is one without an end."""


class PolicyError(NbguardError):
    """A policy that cannot be understood. The message is one plain sentence."""


@dataclass(frozen=True)
class Policy:
    """The design's decision table, with the choices that it leaves to a policy.

    *Unverifiable* has no attribute: no policy can let it load.
    """

    name: str
    strictness: int
    """Larger is stricter; a layer below a site's may only choose a policy that is at least as strict."""
    about: str
    """One sentence for people."""
    sources: tuple[SourceKind, ...]
    """Kinds of source from which explained data may load where nobody is there to be asked. `hub` is the one Hub that
    this installation is configured for."""
    safe_person: Literal["ask", "allow"]
    """Explained data while a person is there: one click, or load and say so in one line."""
    safe_headless: Literal["allow", "sources", "refuse"]
    """Explained data while nobody is there: load, load from `sources` only, or refuse without an approval."""
    safe_offers: tuple[str, ...]
    review_person: Literal["ask", "refuse"]
    review_stored: bool
    """Whether an approval given before counts."""
    review_offers: tuple[str, ...]
    danger_person: Literal["ask", "refuse"]
    danger_stored: bool
    """Whether an approval given before counts; it is the only way in which danger ever loads without a question."""
    danger_offers: tuple[str, ...]
    approval_days: tuple[int, int, int]
    """After how many days an approval of something safe, to be reviewed, dangerous ends where nobody said when; 0: it
    has no end."""
    approval_most_days: int
    """The most days that a person may say; 0: any."""
    approval_reasons: tuple[str, ...]
    """Verdicts, of `safe`, `review`, `danger`, whose approval needs a reason."""
    own_work: Literal["load", "ask"]
    """What this user's own guarded kernels wrote: load it without a question, whatever its verdict, or treat it like
    anything else."""

    @classmethod
    def from_mapping(cls, name: str, data: Mapping[str, Any]) -> Policy:
        """Check and take over `data`.

        Raises:
            PolicyError: a key is missing, unknown, or has a value that it cannot have.
        """
        tables = ("safe", "review", "danger", "approvals")
        top = _Table(name, data, ("strictness", "about", "sources", "own_work", *tables))
        safe = top.table("safe", ("person", "headless", "offers"))
        review = top.table("review", ("person", "stored", "offers"))
        danger = top.table("danger", ("person", "stored", "offers"))
        kept = top.table("approvals", ("days", "most_days", "reasons"))
        days = kept.table("days", VERDICTS)
        reasons = kept.several("reasons", VERDICTS)
        offers = {kind: table.several("offers", OFFERS) for kind, table in (("safe", safe), ("review", review))}
        for kind, offered in offers.items():
            if kind in reasons and "always" in offered:  # only the form of a danger asks for a reason
                raise PolicyError(f"policy {name}.{kind}: 'always' cannot be offered where an approval needs a reason.")
        return cls(
            name=name,
            strictness=top.typed("strictness", int),
            about=top.typed("about", str),
            sources=top.several("sources", SOURCE_KINDS),
            safe_person=safe.one_of("person", ("ask", "allow")),
            safe_headless=safe.one_of("headless", ("allow", "sources", "refuse")),
            safe_offers=offers["safe"],
            review_person=review.one_of("person", ("ask", "refuse")),
            review_stored=review.typed("stored", bool),
            review_offers=offers["review"],
            danger_person=danger.one_of("person", ("ask", "refuse")),
            danger_stored=danger.typed("stored", bool),
            danger_offers=danger.several("offers", OFFERS),
            approval_days=(days.days("safe"), days.days("review"), days.days("danger")),
            approval_most_days=kept.days("most_days"),
            approval_reasons=reasons,
            own_work=top.one_of("own_work", ("load", "ask")),
        )


class _Table:
    """One table of a policy while it is checked."""

    def __init__(self, where: str, data: object, keys: tuple[str, ...]) -> None:
        if not isinstance(data, Mapping):
            raise PolicyError(f"policy {where}: a table is expected.")
        for key in data:
            if key not in keys:
                raise PolicyError(f"policy {where} has a key that nbguard does not know: {str(key)[:80]!r}.")
        for key in keys:
            if key not in data:
                raise PolicyError(f"policy {where} lacks the key {key!r}.")
        self._where = where
        self._data = data

    def table(self, key: str, keys: tuple[str, ...]) -> _Table:
        return _Table(f"{self._where}.{key}", self._data[key], keys)

    def typed(self, key: str, kind: type) -> Any:
        value = self._data[key]
        if type(value) is not kind:
            raise PolicyError(f"policy {self._where}: {key} must be of type {kind.__name__}.")
        return value

    def days(self, key: str) -> int:
        value = self.typed(key, int)
        if not 0 <= value <= MOST_DAYS:
            raise PolicyError(f"policy {self._where}: {key} must be a number of days from 0 to {MOST_DAYS}.")
        return int(value)

    def one_of(self, key: str, choices: tuple[str, ...]) -> Any:
        value = self._data[key]
        if not isinstance(value, str) or value not in choices:
            raise PolicyError(f"policy {self._where}: {key} must be one of {', '.join(choices)}.")
        return value

    def several(self, key: str, choices: tuple[str, ...]) -> Any:
        value = self._data[key]
        if not isinstance(value, list) or any(v not in choices for v in value):
            raise PolicyError(f"policy {self._where}: {key} must be a list of: {', '.join(choices)}.")
        return tuple(value)


@dataclass(frozen=True)
class Situation:
    """What a decision depends on beside the report and the policy."""

    approved: Approval | None = None
    """An approval that the store found for exactly this artifact and contract, not expired and not revoked."""
    person: bool = False
    """Whether somebody can be asked."""
    request: LoadRequest | None = None
    """The call; None for a scan that a person asked for."""
    mode: Literal["observe", "warn", "enforce"] = "enforce"
    """Only `enforce` stops loads."""
    own: str = ""
    """Where this user's own guarded kernels wrote exactly this: a sentence that says when and with what."""


@dataclass(frozen=True)
class Decision:
    """What happens now, and why."""

    action: Action
    form: Form
    """How it is shown: one line, the full report, the full report with its hurdles, or with no way on."""
    offers: tuple[str, ...]
    """What a person may answer, of `once`, `always`, `refuse`; empty where there is no question."""
    rules: tuple[str, ...]
    """Ids of what led here, the policy first."""
    reason: str
    """One plain sentence."""
    enforced: bool = True
    """False in the modes `observe` and `warn`: `action` says what enforcement would do, and the load goes on all the
    same, without a question; it is logged, and in `warn` shown."""
