"""The state of one question. The kernel decides by it, not the page.

    machine = Machine(digest=report.artifact.digest, form="full", offers=("once",), ticks=0)
    machine.receive(message) is Effect.DECIDED and machine.choice

A page can send any message for any control: a click for a button that is disabled, a change for a box that is not
shown, the same message twice. So nothing is believed about what the page shows. A message counts only if it names a
live control of this question (gate, nonce and digest are part of each control's id), is new, has the one shape that
such a control sends, comes in a phase in which the control is in use, and comes no sooner than a person can have read
what is there. A page that is wholly in an attacker's hand can still click for its person; nothing here can tell.
"""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from nbguard.gate.answer import Choice, Form

GRACE = 0.7
"""Seconds after the question, or a new part of it, has appeared in which no click counts: long enough that a double
click or a key meant for something else does not answer, short enough that a reader does not notice."""

MOST_REASON = 500
"""Characters kept of a typed reason."""

_MOST_SEEN = 10_000
"""Messages after which the question is given up as refused: nobody clicks that often."""


class Effect(enum.Enum):
    """What a message did."""

    IGNORED = "ignored"
    SHOWN = "shown"
    CHANGED = "changed"
    DECIDED = "decided"
    UNSHOWABLE = "unshowable"
    """The page closed a control before it showed any: it cannot show them at all."""


class Machine:
    """One question, from its first appearance to its one decision."""

    def __init__(
        self,
        *,
        digest: str,
        form: Form,
        offers: tuple[Choice, ...],
        ticks: int = 0,
        instead: bool = False,
        convert: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gate = secrets.token_hex(8)
        self._nonce = secrets.token_hex(16)
        self._digest = digest
        self._form = form
        self._offers = offers if form != "blocked" else ()
        self._instead = instead
        self._convert = convert
        self._clock = clock
        self._ready_at = clock() + GRACE
        self._ticked = [False] * ticks
        self._seen: set[str] = set()
        self.shown = False
        """The page has said that it shows the question."""
        self.details = False
        """The details of a danger question have been opened."""
        self.reason = ""
        self.choice: Choice | None = None
        self.ignored = ""
        """Why the last ignored message was ignored."""
        roles = ["root", "refuse", "safetensors", "convert", "once", "always", "details", "reason"]
        roles += [f"tick-{n}" for n in range(ticks)]
        self._roles = {self.control(role): role for role in roles}

    def control(self, role: str) -> str:
        """The id of a control: it can be neither guessed nor carried over to another question."""
        return f"nbguard-{self.gate}-{self._nonce}-{self._digest[:16]}-{role}"

    def enabled(self, role: str) -> bool:
        """Whether the control is in use now."""
        if self.choice is not None:
            return False
        if role in ("root", "refuse"):
            return True
        if role == "safetensors":  # harmless whatever the question is about: what it loads is looked at anew
            return self._instead
        if role == "convert":
            return self._convert
        if role in ("once", "always"):
            open_to_it = self._form != "danger" or (self.details and bool(self._ticked) and all(self._ticked))
            return role in self._offers and open_to_it
        if role == "details":
            return self._form == "danger" and not self.details
        if role == "reason" or role.startswith("tick-"):
            return self._form == "danger" and self.details
        return False

    def receive(self, message: Mapping[str, Any]) -> Effect:
        """Take one message from the page. Whatever is not exactly what a control sends is ignored."""
        if self.choice is not None:
            return self._ignore("already decided")
        header, content = message.get("header"), message.get("content")
        if not isinstance(header, Mapping) or not isinstance(content, Mapping):
            return self._ignore("not a message")
        role = self._roles.get(str(content.get("comm_id")))
        if role is None:
            return self._ignore("not a control of this question")
        number = header.get("msg_id")
        if not isinstance(number, str) or not number or number in self._seen:
            return self._ignore("repeated")
        self._seen.add(number)
        if len(self._seen) > _MOST_SEEN:
            return self._decide("refuse", "the page sent more messages than a person can")
        kind = header.get("msg_type")
        if kind == "comm_close":
            return self._decide("refuse", "the question was closed") if self.shown else Effect.UNSHOWABLE
        if kind != "comm_msg":
            return self._ignore("not a control's message")
        data = content.get("data")
        return self._control(role, data if isinstance(data, Mapping) else {})

    def _control(self, role: str, data: Mapping[str, Any]) -> Effect:
        state = data.get("state") if data.get("method") == "update" else None
        state = state if isinstance(state, Mapping) else {}
        if role == "root":
            return self._root(state)
        if not self.enabled(role):
            return self._ignore(f"{role} is not in use")
        if role == "reason":
            value = state.get("value")
            if not isinstance(value, str):
                return self._ignore("not a text")
            self.reason = value[:MOST_REASON]
            return Effect.CHANGED
        if self._clock() < self._ready_at:
            return self._ignore("too soon")
        if role.startswith("tick-"):
            value = state.get("value")
            if not isinstance(value, bool):
                return self._ignore("not a tick")
            self._ticked[int(role.removeprefix("tick-"))] = value
            return Effect.CHANGED
        if data.get("method") != "custom" or data.get("content") != {"event": "click"}:
            return self._ignore("not a click")
        if role == "details":
            self.details = True
            self._ready_at = self._clock() + GRACE  # what has just appeared was not there to be clicked
            return Effect.CHANGED
        if role == "once":
            return self._decide("once")
        if role == "always":
            return self._decide("always")
        if role == "safetensors":
            return self._decide("safetensors")
        if role == "convert":
            return self._decide("convert")
        return self._decide("refuse")

    def _root(self, state: Mapping[str, Any]) -> Effect:
        views = state.get("_view_count")
        if self.shown or not isinstance(views, int) or views < 1:
            return self._ignore("not news")
        self.shown = True
        self._ready_at = self._clock() + GRACE
        return Effect.SHOWN

    def cancel(self, reason: str) -> None:
        """Refuse for a reason of the gate's own."""
        if self.choice is None:
            self._decide("refuse", reason)

    def _decide(self, choice: Choice, reason: str = "") -> Effect:
        self.choice = choice
        self.reason = reason or self.reason
        return Effect.DECIDED

    def _ignore(self, why: str) -> Effect:
        self.ignored = why
        return Effect.IGNORED
