"""The question in real kernels: the click reaches a busy cell, and nothing else does."""

from __future__ import annotations

import time

import pytest
from kernels import Kernel


def only_static(cell: object) -> None:
    for data in cell.shown.values():  # type: ignore[attr-defined]
        assert set(data) == {"text/html", "text/plain"}


@pytest.mark.parametrize("choice", ["once", "always", "refuse"])
def test_a_click_reaches_the_busy_cell(kernel: Kernel, choice: str) -> None:
    cell = kernel.run("answer = ask(); print('->', answer.choice, answer.face)")
    cell.question()
    cell.click(choice)
    assert cell.finish() == f"-> {choice} widget\n"
    only_static(cell)
    (shown,) = cell.shown.values()
    assert ("Refused" if choice == "refuse" else "Accepted by") in shown["text/html"]
    assert "REVIEW" in shown["text/plain"]


def test_what_a_cells_acceptance_covers_is_one_line(kernel: Kernel) -> None:
    cell = kernel.run(
        "from dataclasses import replace\n"
        "d = replace(decision(Verdict.REVIEW), action='allow', rules=('approval.cell-1',))\n"
        "for name in ('first.pt', 'second.pt', 'first.pt'):\n"
        "    gate.announce(replace(report(Verdict.REVIEW), target=name), d, REQUEST)"
    )
    cell.finish()
    (shown,) = cell.shown.values()
    assert shown["text/plain"] == "nbguard: Loaded, as accepted for this cell: first.pt, second.pt"
    assert "<b>second.pt</b>" in shown["text/html"]
    assert "details" not in shown["text/html"]


def test_danger_takes_details_ticks_and_a_reason(kernel: Kernel) -> None:
    cell = kernel.run("answer = ask(Verdict.DANGER); print('->', answer.choice, answer.reason)")
    cell.question()
    cell.handled(cell.click("once"))
    cell.handled(cell.click("details"))
    time.sleep(0.75)
    cell.handled(cell.click("always"))
    kernel.send(cell.controls["reason"], {"method": "update", "state": {"value": "an exercise"}})
    cell.tick(0)
    cell.click("once")
    assert cell.finish() == "-> once an exercise\n"
    (shown,) = cell.shown.values()
    assert "an exercise" in shown["text/html"]


def test_early_repeated_and_forged_messages_decide_nothing(kernel: Kernel) -> None:
    cell = kernel.run("answer = ask(Verdict.DANGER); print('->', answer.choice)")
    while "once" not in cell.controls or not cell.shown:
        cell.step(5)
    early = cell.click("refuse")
    cell.handled(early)
    time.sleep(0.75)
    frames = kernel.client.session.serialize(early)
    kernel.client.shell_channel.socket.send_multipart(frames)  # the same message again, signature and all
    for role in ("once", "always", "tick-0"):  # disabled and hidden controls
        cell.handled(cell.click(role))
    details = cell.click("details")
    cell.handled(details)
    time.sleep(0.75)
    unsigned = kernel.client.session.serialize(kernel.client.session.msg("comm_msg", early["content"]))
    kernel.client.shell_channel.socket.send_multipart([unsigned[0], b"0" * 64, *unsigned[2:]])
    kernel.send(cell.controls["once"].replace("nbguard-", "nbguard-x"), early["content"]["data"])
    cell.handled(cell.click("once"))
    assert not cell.done
    cell.click("refuse")
    assert cell.finish().endswith("-> refuse\n")
    kernel.run("pass").finish()  # what no comm was found for has been complained about by now


def test_the_second_half_of_a_double_click_goes_nowhere(kernel: Kernel) -> None:
    cell = kernel.run("print('->', ask().choice)")
    cell.question()
    cell.click("once")
    cell.click("once")
    assert cell.finish() == "-> once\n"
    after = kernel.run("print('quiet')")
    assert after.finish() == "quiet\n"
    assert cell.printed == "-> once\n"


def test_closing_the_controls_refuses(kernel: Kernel) -> None:
    cell = kernel.run("answer = ask(); print('->', answer.choice, '|', answer.reason)")
    cell.question()
    kernel.send(cell.controls["root"], {"method": "update", "state": {"_view_count": 1}})
    kernel.send(cell.controls["root"], {}, kind="comm_close")
    assert cell.finish() == "-> refuse | the question was closed\n"


def test_a_page_without_widgets_closes_them_and_is_asked_with_text(kernel: Kernel) -> None:
    cell = kernel.run("print('->', ask().choice)")
    cell.question()
    for comm_id in cell.controls.values():  # what JupyterLab does where nothing knows what a widget is
        kernel.send(comm_id, {}, kind="comm_close")
    assert "Type once" in cell.type("once")
    assert "-> once\n" in cell.finish()
    only_static(cell)
    assert len(cell.shown) == 1, "the typed question stands where the buttons stood"


def test_a_page_that_comes_later_can_show_the_question(kernel: Kernel) -> None:
    """It asks for the kernel, its widgets and their states; the kernel itself would answer when the cell has ended."""
    cell = kernel.run(
        "import ipywidgets\n"
        "class Broken(ipywidgets.Text):\n"
        "    def get_state(self, *a, **k): return 1 / (not gone) and super().get_state(*a, **k)\n"
        "gone = []; other = Broken(); gone.append(1); print(other.model_id)\nprint('->', ask().choice)"
    )
    cell.question()
    for asked in (kernel.client.kernel_info(), kernel.client.comm_info(target_name="jupyter.widget")):
        reply = kernel.client.get_shell_msg(timeout=20)
        while reply["parent_header"]["msg_id"] != asked:
            reply = kernel.client.get_shell_msg(timeout=20)
        assert reply["content"]["status"] == "ok"
    known, broken = reply["content"]["comms"], cell.printed.split()[0]
    assert {cell.controls["root"], cell.controls["once"], broken} <= set(known)
    for comm_id in (broken, cell.controls["once"]):
        message = kernel.send(comm_id, {"method": "request_state"})
        cell.handled(message)
    (answer,) = [content for parent, content in cell.states if parent == message["header"]["msg_id"]]
    assert answer["data"]["state"]["description"] == "Load once"
    cell.until(lambda: cell.statuses[-1] == (cell.request, "busy"))  # with the cell that waits
    cell.click("once")
    assert "-> once\n" in cell.finish()
    shown = [c["data"]["state"] for _, c in cell.states if c["comm_id"] == cell.controls["root"]]
    assert len(shown[-1]["children"]) == 1, "in pages that have only the widget, what was decided stands in its place"


@pytest.mark.parametrize("way", ["ask()", "await asyncio.sleep(0); ask()"], ids=["plain", "async"])
def test_the_stop_button_loads_nothing_and_leaves_a_usable_kernel(kernel: Kernel, way: str) -> None:
    cell = kernel.run(f"{way}\nprint('never')")
    cell.question()
    kernel.manager.interrupt_kernel()
    assert "never" not in cell.finish()
    assert "KeyboardInterrupt" in cell.error
    only_static(cell)
    (shown,) = cell.shown.values()
    assert "Interrupted; nothing was loaded" in shown["text/html"]
    assert kernel.run("print('alive')").finish() == "alive\n"
    again = kernel.run("print('->', ask().choice)")
    again.question()
    again.click("once")
    assert again.finish() == "-> once\n"


@pytest.mark.parametrize(
    "way",
    ["await asyncio.sleep(0); print('->', ask().choice)", "print('->', (await asyncio.to_thread(ask)).choice)"],
    ids=["await", "to_thread"],
)
def test_asynchronous_cells(kernel: Kernel, way: str) -> None:
    cell = kernel.run(way)
    cell.question()
    cell.click("once")
    assert cell.finish() == "-> once\n"


def test_a_thread_that_the_cell_waits_for(kernel: Kernel, seven: bool) -> None:
    code = "t = threading.Thread(target=lambda: print('->', ask().choice)); t.start(); t.join()"
    cell = kernel.run(code)
    if seven:
        cell.question()
        cell.click("once")
    else:  # the blocked main thread owns the socket: the question is typed
        assert "Type once" in cell.type("once")
    assert "-> once\n" in cell.finish()


def test_cells_below_keep_their_order(kernel: Kernel) -> None:
    cell = kernel.run("order = []; order.append(ask().choice)")
    cell.question()
    for number in range(3):
        kernel.client.execute(f"order.append({number})")
    cell.click("once")
    cell.finish()
    assert kernel.run("print(order)").finish().endswith("['once', 0, 1, 2]\n")


def test_two_questions_at_once_take_turns(kernel: Kernel) -> None:
    cell = kernel.run(
        "two = await asyncio.gather(asyncio.to_thread(ask), asyncio.to_thread(ask))\n"
        "print('->', [a.choice for a in two])"
    )
    for _ in range(2):
        cell.question()
        cell.click("once")
        cell.shown.clear()
    assert cell.finish() == "-> ['once', 'once']\n"


def test_nobody_is_waited_for_where_nobody_is(kernel: Kernel) -> None:
    cell = kernel.run("answer = ask(); print('->', answer.choice, answer.face, gate.frontend())", allow_stdin=False)
    assert cell.finish() == "-> refuse none none\n"
    assert not cell.shown


def test_what_could_not_be_read_is_shown_and_not_asked(kernel: Kernel) -> None:
    cell = kernel.run("answer = ask(Verdict.UNVERIFIABLE); print('->', answer.choice)")
    assert cell.finish() == "-> refuse\n"
    only_static(cell)
    assert "Unverifiable" in str(cell.shown)


@pytest.mark.parametrize("typed", ["once", "always", "", "yes"])
def test_text_instead_of_buttons(kernel: Kernel, typed: str) -> None:
    kernel.run("import os; os.environ['NBGUARD_FACE'] = 'text'").finish()
    cell = kernel.run("answer = ask(); print('->', answer.choice, answer.face)")
    for _ in range(3 if typed == "yes" else 1):
        cell.type(typed)
    expected = typed if typed in ("once", "always") else "refuse"
    assert f"-> {expected} terminal\n" in cell.finish()
    kernel.run("del os.environ['NBGUARD_FACE']").finish()


def test_a_kernel_that_cannot_be_listened_to_asks_with_text_and_else_refuses(kernel: Kernel) -> None:
    blind = "from unittest import mock\nwith mock.patch('nbguard.gate.pump.supported', return_value=False): "
    cell = kernel.run(f"{blind}print('->', ask().choice)")
    cell.type("once")
    assert "-> once\n" in cell.finish()
    only_static(cell)
    mute = "mock.patch('builtins.input', side_effect=NotImplementedError)"
    cell = kernel.run(f"{blind}\n    with {mute}: answer = ask(); print('->', answer.choice, answer.face)")
    assert "-> refuse none\n" in cell.finish()


def test_a_message_loop_that_does_not_answer_is_not_waited_for(kernel: Kernel, seven: bool) -> None:
    if not seven:
        pytest.skip("before ipykernel 7 the main thread is the message loop")
    cell = kernel.run(
        "k = get_ipython().kernel; was = k.shell_stream._recv_callback\n"
        "with mock.patch.object(k.shell_stream.io_loop, 'add_callback'): print('->', ask().choice)\n"
        "print(k.shell_stream._recv_callback == was)"
    )
    cell.type("")
    assert cell.finish().endswith("-> refuse\nTrue\n")


def test_a_progress_bar_gives_its_place_to_the_question(kernel: Kernel) -> None:
    cell = kernel.run(
        "import time\n"
        "with gate.progress('Looking into <b>x</b>') as tell:\n"
        "    tell(0.1, 'a'); time.sleep(0.9); tell(0.5, '<script>b'); assert input() == 'go'\n"
        "print('->', ask().choice)"
    )
    cell.until(lambda: any("50 %" in data["text/html"] for data in cell.shown.values()))
    (bar,) = cell.shown.values()
    assert "<script>" not in bar["text/html"]
    cell.type("go")
    cell.question()
    assert len(cell.shown) == 1, "the question stands where the bar stood"
    cell.click("once")
    assert cell.finish() == "-> once\n"
    assert len(cell.shown) == 1


def test_a_short_scan_shows_no_bar(kernel: Kernel) -> None:
    cell = kernel.run("with gate.progress('quick') as tell: tell(0.5, 'x')")
    cell.finish()
    assert not cell.shown


def test_what_was_decided_without_a_question_is_told_in_one_line(kernel: Kernel) -> None:
    cell = kernel.run(
        "from dataclasses import replace\n"
        "said = replace(decision(Verdict.SAFE), action='allow', reason='Approved by you before.')\n"
        "gate.announce(report(Verdict.SAFE), said, REQUEST)"
    )
    cell.finish()
    (shown,) = cell.shown.values()
    assert "Approved by you before." in shown["text/html"]
    assert shown["text/plain"].count("\n") == 0
