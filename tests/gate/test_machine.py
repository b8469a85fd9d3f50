"""What a page sends is believed only if it is exactly what a person could have done now."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from nbguard.gate.machine import GRACE, MOST_REASON, Effect, Machine

_numbers = count()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_grace(self) -> None:
        self.now += GRACE + 0.01


def message(comm_id: str, data: dict[str, Any], *, kind: str = "comm_msg", number: str | None = None) -> dict[str, Any]:
    number = number if number is not None else f"m{next(_numbers)}"
    return {"header": {"msg_type": kind, "msg_id": number}, "content": {"comm_id": comm_id, "data": data}}


def click(machine: Machine, role: str, **more: Any) -> dict[str, Any]:
    return message(machine.control(role), {"method": "custom", "content": {"event": "click"}}, **more)


def change(machine: Machine, role: str, value: object, **more: Any) -> dict[str, Any]:
    return message(machine.control(role), {"method": "update", "state": {"value": value}}, **more)


def ask(form: str = "full", *, ticks: int = 0, offers: tuple[str, ...] = ("once", "always")) -> tuple[Machine, Clock]:
    clock = Clock()
    machine = Machine(digest="d" * 64, form=form, offers=offers, ticks=ticks, clock=clock)  # type: ignore[arg-type]
    return machine, clock


@pytest.mark.parametrize("choice", ["once", "always", "refuse"])
def test_a_click_decides_once_the_report_could_be_read(choice: str) -> None:
    machine, clock = ask()
    clock.pass_grace()
    assert machine.receive(click(machine, choice)) is Effect.DECIDED
    assert machine.choice == choice


@pytest.mark.parametrize("choice", ["once", "always", "refuse"])
def test_a_click_within_the_first_700_ms_decides_nothing(choice: str) -> None:
    machine, clock = ask()
    clock.now += 0.69
    assert machine.receive(click(machine, choice)) is Effect.IGNORED
    assert machine.choice is None
    assert machine.ignored == "too soon"


def test_the_700_ms_start_when_the_page_shows_the_question_and_only_then() -> None:
    machine, clock = ask()
    clock.now += 10
    view = {"method": "update", "state": {"_view_count": 1}}
    assert machine.receive(message(machine.control("root"), view)) is Effect.SHOWN
    assert machine.receive(click(machine, "once")) is Effect.IGNORED
    clock.pass_grace()
    assert machine.receive(message(machine.control("root"), view)) is Effect.IGNORED, "shown again starts nothing anew"
    assert machine.receive(click(machine, "once")) is Effect.DECIDED


def test_nothing_changes_a_decision() -> None:
    machine, clock = ask()
    clock.pass_grace()
    machine.receive(click(machine, "refuse"))
    for role in ("once", "always", "refuse"):
        assert machine.receive(click(machine, role)) is Effect.IGNORED
    assert machine.receive(message(machine.control("root"), {}, kind="comm_close")) is Effect.IGNORED
    machine.cancel("later")
    assert (machine.choice, machine.reason) == ("refuse", "")


def test_a_repeated_message_counts_once() -> None:
    machine, clock = ask("danger", ticks=1)
    clock.pass_grace()
    early = click(machine, "details", number="same")
    assert machine.receive(early) is Effect.CHANGED
    clock.pass_grace()
    assert machine.receive(change(machine, "tick-0", True, number="same")) is Effect.IGNORED
    assert machine.ignored == "repeated"
    assert machine.receive(change(machine, "tick-0", True, number="")) is Effect.IGNORED, "no number at all"


def test_another_questions_control_decides_nothing() -> None:
    machine, clock = ask()
    other, _ = ask()
    clock.pass_grace()
    for forged in (
        other.control("once"),
        "nbguard-once",
        machine.control("once")[:-1],
        machine.control("once") + "x",
        "",
    ):
        data = {"method": "custom", "content": {"event": "click"}}
        assert machine.receive(message(forged, data)) is Effect.IGNORED
    assert machine.choice is None


def test_ids_of_controls_hold_gate_nonce_and_digest() -> None:
    one, _ = ask()
    two, _ = ask()
    assert one.control("once") != two.control("once")
    assert "d" * 16 in one.control("once")


@pytest.mark.parametrize("choice", ["once", "always"])
def test_danger_needs_details_and_every_tick(choice: str) -> None:
    machine, clock = ask("danger", ticks=2)
    clock.pass_grace()
    assert machine.receive(click(machine, choice)) is Effect.IGNORED, "the button is not even shown"
    assert machine.receive(change(machine, "tick-0", True)) is Effect.IGNORED, "nor are the boxes"
    assert machine.receive(click(machine, "details")) is Effect.CHANGED
    assert machine.receive(change(machine, "tick-0", True)) is Effect.IGNORED, "what has just appeared cannot be meant"
    clock.pass_grace()
    assert machine.receive(change(machine, "tick-0", True)) is Effect.CHANGED
    assert machine.receive(click(machine, choice)) is Effect.IGNORED, "one of two"
    assert machine.receive(change(machine, "tick-1", True)) is Effect.CHANGED
    assert machine.receive(change(machine, "tick-0", False)) is Effect.CHANGED
    assert machine.receive(click(machine, choice)) is Effect.IGNORED, "one was taken back"
    assert machine.receive(change(machine, "tick-0", True)) is Effect.CHANGED
    assert machine.receive(click(machine, choice)) is Effect.DECIDED


def test_danger_without_anything_to_tick_cannot_be_accepted() -> None:
    machine, clock = ask("danger", ticks=0)
    clock.pass_grace()
    machine.receive(click(machine, "details"))
    clock.pass_grace()
    assert machine.receive(click(machine, "once")) is Effect.IGNORED


def test_what_is_not_offered_cannot_be_chosen() -> None:
    machine, clock = ask(offers=("once",))
    clock.pass_grace()
    assert machine.receive(click(machine, "always")) is Effect.IGNORED
    blocked, clock = ask("blocked")
    clock.pass_grace()
    for role in ("once", "always", "details"):
        assert blocked.receive(click(blocked, role)) is Effect.IGNORED
    assert blocked.receive(click(blocked, "refuse")) is Effect.DECIDED


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"method": "custom"},
        {"method": "custom", "content": {"event": "clack"}},
        {"method": "custom", "content": {"event": "click", "more": 1}},
        {"method": "custom", "content": "click"},
        {"method": "update", "state": {"disabled": False}},
        {"method": "update", "state": {"value": True}},
        {"method": "backbone", "state": []},
    ],
)
def test_a_message_that_no_button_sends_is_no_click(data: dict[str, Any]) -> None:
    machine, clock = ask()
    clock.pass_grace()
    assert machine.receive(message(machine.control("once"), data)) is Effect.IGNORED
    assert machine.choice is None


@pytest.mark.parametrize("value", [1, "true", None, [True], {"value": True}])
def test_only_a_boolean_ticks(value: object) -> None:
    machine, clock = ask("danger", ticks=1)
    clock.pass_grace()
    machine.receive(click(machine, "details"))
    clock.pass_grace()
    assert machine.receive(change(machine, "tick-0", value)) is Effect.IGNORED
    assert not machine.enabled("once")


@pytest.mark.parametrize(
    "broken", [{}, {"header": None, "content": None}, {"header": {}, "content": {}}, {"content": 3}]
)
def test_a_broken_message_is_ignored(broken: dict[str, Any]) -> None:
    machine, _ = ask()
    assert machine.receive(broken) is Effect.IGNORED


def test_a_page_that_cannot_show_controls_is_not_an_answer() -> None:
    machine, _ = ask()
    assert machine.receive(message(machine.control("once"), {}, kind="comm_close")) is Effect.UNSHOWABLE
    assert machine.choice is None


def test_closing_the_question_refuses() -> None:
    machine, _ = ask()
    machine.receive(message(machine.control("root"), {"method": "update", "state": {"_view_count": 1}}))
    assert machine.receive(message(machine.control("once"), {}, kind="comm_close")) is Effect.DECIDED
    assert (machine.choice, machine.reason) == ("refuse", "the question was closed")


def test_a_flood_of_messages_refuses() -> None:
    machine, _ = ask()
    for _ in range(10_001):
        machine.receive(click(machine, "once"))
    assert machine.choice == "refuse"


def test_a_reason_is_kept_and_bounded() -> None:
    machine, clock = ask("danger", ticks=1)
    assert machine.receive(change(machine, "reason", "early")) is Effect.IGNORED
    clock.pass_grace()
    machine.receive(click(machine, "details"))
    clock.pass_grace()
    assert machine.receive(change(machine, "reason", 5)) is Effect.IGNORED
    assert machine.receive(change(machine, "reason", "x" * 5_000)) is Effect.CHANGED
    assert machine.reason == "x" * MOST_REASON
