"""The question as it stands in the cell: the report, and the controls under it.

    view = View(report, decision, asked, machine, loader="torch.load")
    slot.show(view.bundle())

Text from a model reaches the page through `report.escape` and never as the label of a control: pages typeset those as
mathematics, links included. What a control does is not decided here: the page's messages go to the machine, and the
view is brought into line with it.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from nbguard.gate.answer import Question
from nbguard.gate.faces import FACE_VARIABLE, page_is_jupyters
from nbguard.gate.machine import Machine
from nbguard.policy import reason_asked
from nbguard.report import html as report_html
from nbguard.report import sections
from nbguard.report import text as report_text
from nbguard.report.escape import html, terminal
from nbguard.report.model import Report

VIEW = "application/vnd.jupyter.widget-view+json"

TYPE_INSTEAD = (
    f"No buttons? Stop the cell (■); nothing is loaded then. Run %env {FACE_VARIABLE}=text and the cell again, "
    "and type the answer."
)
"""For pages that cannot show the controls, though their notebook server says that someone is there."""

TYPE_SOON = "No buttons? Wait a few seconds: the question is then put as text, to be answered by typing."
"""The same for pages other than Jupyter's own, where it is put so by itself."""

_LABELS = {
    "once": "Load once",
    "always": "Always allow this content",
    "refuse": "Refuse",
    "safetensors": "Load the safetensors instead",
    "convert": "Convert to safetensors and load that",
}

_NOTES = {
    "once": "<b>Load once</b> loads it now and asks again the next time.",
    "always": "<b>Always allow this content</b> holds for exactly these bytes; a changed file is asked about again.",
    "refuse": "<b>Refuse</b> loads nothing and stops the cell.",
    "safetensors": "<b>Load the safetensors instead</b> takes the file that can hold numbers only; it is looked at"
    " first.",
    "convert": "<b>Convert to safetensors and load that</b> rewrites the numbers in a process that can do nothing else,"
    " compares every one, and loads the copy.",
}


@functools.cache
def style() -> str:
    """The style sheet of the controls."""
    css = resources.files("nbguard.gate").joinpath("gate.css").read_text("utf-8")
    return f"<style>{css}</style>"


class View:
    """The widgets of one question."""

    def __init__(self, report: Report, decision: Any, asked: Question, machine: Machine, *, loader: str = "") -> None:
        import ipywidgets

        self._w = ipywidgets
        self._report, self._decision, self._asked, self._machine = report, decision, asked, machine
        self._loader = loader
        self._controls: dict[str, Any] = {}
        self._details: Any = None
        parts = self._compact() if asked.form == "compact" else self._full()
        self.root = ipywidgets.VBox(
            parts, model_id=machine.control("root"), _view_count=0, _dom_classes=("nbg-gate", f"nbg-{asked.form}")
        )
        self.sync()

    @property
    def comm_ids(self) -> list[str]:
        """Every comm of this view that a page may send to."""
        return [w.comm.comm_id for w in _walk(self.root) if w.comm is not None]

    def bundle(self) -> dict[str, Any]:
        """For the display: the widget, and what a page without widgets shows in its place."""
        report, decision = self._report, self._decision
        no_buttons = TYPE_INSTEAD if page_is_jupyters() else TYPE_SOON
        instead = f'<p class="nbg-outcome">Waiting for your answer. {html(no_buttons)}</p>'
        static = report_html.wrap(
            report,
            sections.band(report, loader=self._loader) + instead + report_html.body(report, decision),
        )
        short = report_text.brief(report, reason=reason_asked(report))
        return {
            "text/plain": f"{short}\n\nnbguard waits for your answer. {no_buttons}",
            "text/html": static,
            VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.root.model_id},
        }

    def focus(self) -> None:
        """Put the keyboard on the answer that does no harm: the way that runs no code, where there is one; else
        loading what is safe, and refusing everything else."""
        safe = "once" if self._asked.form == "compact" and "once" in self._controls else "refuse"
        self._controls[self._harmless() or safe].focus()

    def sync(self) -> None:
        """Show what the machine's state allows."""
        for role, control in self._controls.items():
            if role == "details":
                control.layout.display = None if self._machine.enabled("details") else "none"
            elif control.disabled == self._machine.enabled(role):
                control.disabled = not control.disabled
        if self._details is not None:
            self._details.layout.display = None if self._machine.details else "none"

    def resend(self, comm_id: str) -> None:
        """Send a widget's state again, to a page that asks for it or shows what is not so."""
        for widget in _walk(self.root):
            if widget.comm is not None and widget.comm.comm_id == comm_id:
                widget.send_state()

    def accept(self, comm_id: str, value: object) -> None:
        """Keep a control's value as the machine took it."""
        for control in self._controls.values():
            if control.comm is not None and control.comm.comm_id == comm_id and hasattr(control, "value"):
                control.value = value

    def settle(self, page: str) -> None:
        """Show what was decided, and nothing to press, in pages that have only the widget and not the cell's output."""
        before = [widget for child in self.root.children for widget in _walk(child)]
        self.root.children = (self._html(page),)
        for widget in before:
            widget.close()

    def close(self) -> None:
        """Take the widgets away on both sides. The display has to show something else by then."""
        for widget in _walk(self.root):
            widget.close()

    def _button(self, role: str, label: str, *classes: str, tip: str = "") -> Any:
        button = self._w.Button(
            description=label,
            tooltip=tip or label,
            model_id=self._machine.control(role),
            _dom_classes=("nbg-b", *classes),
        )
        self._controls[role] = button
        return button

    def _html(self, text: str) -> Any:
        return self._w.HTML(text)

    def _row(self, *children: Any, name: str = "nbg-row") -> Any:
        return self._w.HBox(children, _dom_classes=(name,))

    def _harmless(self) -> str:
        """The role of the way that runs no code; empty where there is none."""
        return "safetensors" if self._asked.instead else "convert" if self._asked.convert else ""

    def _first(self) -> list[Any]:
        """The prominent way, where there is one that runs no code."""
        role = self._harmless()
        return [self._button(role, _LABELS[role], "nbg-b-go", "nbg-b-big")] if role else []

    def _compact(self) -> list[Any]:
        best = self._harmless() or "once"
        roles = dict.fromkeys((*((self._harmless(),) if self._harmless() else ()), *self._asked.offers, "refuse"))
        buttons = [self._button(role, _LABELS[role], *(("nbg-b-go",) if role == best else ())) for role in roles]
        folded = (
            '<details class="nbg-fold"><summary>What was looked at <span>and what it may do</span></summary>'
            f"<div>{report_html.body(self._report, self._decision, opened=False)}</div></details>"
        )
        below = self._html(report_html.wrap(self._report, f'<div class="nbg-body">{folded}</div>', styled=False))
        line = self._html(style() + report_html.line(self._report, safer=bool(self._harmless())))
        if not self._harmless():
            return [self._row(line, *buttons, name="nbg-compact-row"), below]
        return [line, self._row(*buttons, name="nbg-compact-ways"), below]  # too much for one line

    def _full(self) -> list[Any]:
        rendered = report_html.render(self._report, self._decision, loader=self._loader)
        ask = self._danger() if self._asked.form == "danger" else self._plain()
        return [self._html(style() + rendered), self._w.VBox(ask, _dom_classes=("nbg-ask",))]

    def _plain(self) -> list[Any]:
        first = self._first()
        refuse = self._button("refuse", _LABELS["refuse"], *(() if first else ("nbg-b-safe",)))
        others = [self._button(role, _LABELS[role]) for role in self._asked.offers]
        roles = (*((self._harmless(),) if first else ()), *self._asked.offers, "refuse")
        notes = " ".join(_NOTES[role] for role in roles)
        title = "Load it?" if others else "It cannot be accepted as it is."
        return [
            self._html(f'<div class="nbg-q">{title}</div>'),
            self._row(*first, refuse, *others),
            self._html(f'<div class="nbg-note">{notes}</div>'),
        ]

    def _danger(self) -> list[Any]:
        first = self._first()
        refuse = self._button("refuse", "Refuse, load nothing", "nbg-b-big", *(() if first else ("nbg-b-safe",)))
        details = self._button("details", "I have a reason to load it anyway…", "nbg-b-quiet")
        boxes = []
        for number, sentence in enumerate(self._asked.ticks):
            role = f"tick-{number}"
            box = self._w.Checkbox(
                description="I have read:",
                tooltip=terminal(sentence, 400),
                indent=False,
                model_id=self._machine.control(role),
                _dom_classes=("nbg-tick",),
            )
            self._controls[role] = box
            said = self._html(f'<div class="nbg-tick-text">{html(sentence, 400)}</div>')
            boxes.append(self._row(box, said, name="nbg-tick-row"))
        why = self._w.Text(
            description="Why (kept in the audit log)", style={"description_width": "initial"}, continuous_update=True,
            model_id=self._machine.control("reason"), _dom_classes=("nbg-why",),
        )  # fmt: skip
        self._controls["reason"] = why
        labels = {"once": "Load anyway, once", "always": _LABELS["always"]}
        others = [self._button(role, labels[role], "nbg-b-risk") for role in self._asked.offers]
        self._details = self._w.VBox(
            [
                self._html('<div class="nbg-q">Tick each of these to say that you have read it.</div>'),
                *boxes,
                why,
                self._row(*others),
                self._html(
                    '<div class="nbg-note">Even then it may only do what the contract above lists, and anything else '
                    "stops the load. What it does within the contract is on you.</div>"
                ),
            ],
            _dom_classes=("nbg-details",),
        )
        title = self._html('<div class="nbg-q">Do not load it.</div>')
        return [title, self._row(*first, refuse, details), self._details]


def _walk(widget: Any) -> list[Any]:
    """The widget, its layout and style, and everything in it."""
    out = [widget, widget.layout]
    if getattr(widget, "style", None) is not None:
        out.append(widget.style)
    for child in getattr(widget, "children", ()):
        out.extend(_walk(child))
    return out
