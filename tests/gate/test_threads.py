"""Questions from threads, pools and tasks: each has its own answer, and ends with the cell it belongs to."""

from __future__ import annotations

import re

import pytest
from kernels import Cell, Kernel

PRELUDE = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from nbguard.gate import turns
turns.watch(get_ipython())
def ask_about(name):
    asked = replace(report(Verdict.REVIEW), target=name)
    answer = gate.ask(asked, decision(Verdict.REVIEW), REQUEST)
    return f"{name}: {answer.choice} {answer.reason}".strip()
"""
TARGET = re.compile(r"\[! REVIEW\] ([\w.]+)")
TOLD = re.compile(r"\[! REVIEW\] ([\w.]+): (?:Accepted|Refused)")
POOL = "with ThreadPoolExecutor(2) as pool: print('->', sorted(pool.map(ask_about, ['first.pt', 'second.pt'])))"
GATHER = "print('->', sorted(await asyncio.gather(*(asyncio.to_thread(ask_about, n) for n in ('a.pt', 'b.pt')))))"


@pytest.fixture
def threads(kernel: Kernel) -> Kernel:
    kernel.run(PRELUDE).finish()
    return kernel


def shown_question(cell: Cell) -> tuple[str, dict[str, str]]:
    """What the question on the page is about, and its controls, once a click counts."""
    cell.question()
    (text,) = [str(d["text/plain"]) for d in cell.shown.values() if "widget-view" in str(d)]
    found = TARGET.search(text)
    assert found, text
    return found[1], dict(cell.controls)


def press(cell: Cell, comm_id: str) -> dict[str, object]:
    return cell.kernel.send(comm_id, {"method": "custom", "content": {"event": "click"}})


@pytest.mark.parametrize("code", [POOL, GATHER], ids=["pool", "to_thread"])
def test_two_at_once_get_their_own_answers(threads: Kernel, seven: bool, code: str) -> None:
    """Neither can be answered by the controls, or the words, meant for the other."""
    cell = threads.run(code)
    expected = []
    if seven or code == GATHER:
        name, first = shown_question(cell)
        press(cell, first["always"])
        expected.append(f"{name}: always")
        cell.until(lambda: "widget-view" not in str(cell.shown))
        name, second = shown_question(cell)
        assert not set(first.values()) & set(second.values())
        for role in ("once", "always", "refuse"):  # the controls of the question before are nobody's now
            press(cell, first[role])
        one, other = first["once"].split("-"), second["once"].split("-")
        press(cell, "-".join([*other[:2], one[2], *other[3:]]))  # this gate, that nonce
        press(cell, "-".join([*other[:3], "0" * 16, *other[4:]]))  # another digest
        cell.step(0.5)
        assert not cell.done
        press(cell, second["refuse"])
        expected.append(f"{name}: refuse")
    else:  # the blocked main thread owns the socket: both are typed, one after the other
        for typed, choice in (("always", "always"), ("", "refuse")):
            cell.type(typed)
            cell.until(lambda: len(TOLD.findall(cell.printed)) > len(expected))
            expected.append(f"{TOLD.findall(cell.printed)[-1]}: {choice}")
    assert f"-> {sorted(expected)}" in cell.finish()


@pytest.mark.parametrize("code", [POOL, GATHER], ids=["pool", "to_thread"])
def test_the_stop_button_ends_questions_of_threads_too(threads: Kernel, seven: bool, code: str) -> None:
    """The cell waits for its threads, and they for an answer: interrupting one has to end the other."""
    cell = threads.run(code)
    if seven or code == GATHER:
        cell.question()
    else:
        cell.until(lambda: "[! REVIEW]" in cell.printed)
    threads.manager.interrupt_kernel()
    assert "->" not in cell.finish()
    assert "KeyboardInterrupt" in cell.error or "CancelledError" in cell.error
    again = threads.run("print('->', ask().choice)")
    again.question()
    again.click("once")
    assert "-> once\n" in again.finish()


def test_a_thread_that_the_cell_does_not_wait_for(threads: Kernel) -> None:
    cell = threads.run("t = threading.Thread(target=lambda: print('->', ask_about('late.pt'))); t.start()")
    name, controls = shown_question(cell)
    cell.until(lambda: cell.done)
    press(cell, controls["once"])
    cell.until(lambda: "-> late.pt: once" in cell.printed)
    assert name == "late.pt"
    threads.run("t.join()").finish()


def test_a_task_in_the_background(threads: Kernel) -> None:
    cell = threads.run(
        "async def later():\n    await asyncio.sleep(0.1)\n    print('->', ask_about('task.pt'))\n"
        "task = asyncio.create_task(later())"
    )
    _, controls = shown_question(cell)
    press(cell, controls["refuse"])
    cell.until(lambda: "-> task.pt: refuse" in cell.printed)
    assert threads.run("print(task.done() or await task)").finish().startswith(("True", "None"))


def test_a_task_in_the_background_can_be_interrupted(threads: Kernel) -> None:
    cell = threads.run(
        "async def later():\n    await asyncio.sleep(0.1)\n    print('->', ask_about('task.pt'))\n"
        "task = asyncio.create_task(later())"
    )
    shown_question(cell)
    threads.manager.interrupt_kernel()
    cell.until(lambda: "-> task.pt: refuse the cell was interrupted" in cell.printed)
    assert threads.run("print('alive')").finish().endswith("alive\n")
