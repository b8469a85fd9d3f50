"""Chat templates in files of their own."""

from __future__ import annotations

from pathlib import Path

from sample_set import COMMAND, Sample, written

POPEN = "{{ cycler.__init__.__globals__.os.popen('" + COMMAND + "').read() }}"
ALIASED = (
    "{% set u = '<|im_start|>'[4] %}{% set d = u ~ u %}{% set ns = namespace() %}"
    "{% set ns.strip = cycler[d ~ 'init' ~ d][d ~ 'globals' ~ d]['os']['popen'] %}{{ ns.strip('"
    + COMMAND
    + "').read() }}"
)
"""The same without an attribute that has underscores, and with the name of an ordinary method for what is called."""


def without_a_sandbox(place: Path) -> None:
    """As llama-cpp-python made prompts before 0.2.72."""
    import jinja2

    jinja2.Environment().from_string(place.read_text()).render(messages=[{"role": "user", "content": "hello"}])


def ordinary() -> bytes:
    from chat_templates import QWEN3

    return QWEN3.encode()


def _template(name: str, source: str, verdict: str, rule: str, trick: str, acts: bool = False) -> Sample:
    return Sample(
        f"chat/{name}", "jinja-template", written("chat_template.jinja", source.encode), (verdict,), rule=rule,
        trick=trick, needs=("jinja2",) if acts else (), loads=without_a_sandbox if acts else None,
    )  # fmt: skip


SAMPLES = (
    Sample("chat/ordinary", "jinja-template", written("chat_template.jinja", ordinary), ("safe",), honest=True),
    _template("popen", POPEN, "danger", "template.escape", "It runs a command where there is no sandbox.", acts=True),
    _template("aliased", ALIASED, "review", "template.vocabulary", "The same, under ordinary names.", acts=True),
    _template(
        "trigger", "{% if 'wire' in messages[-1].content %}{{ 'x' }}{% endif %}", "review", "template.condition",
        "It does something else when a word is there.",
    ),
    _template(
        "date", "{% if strftime_now('%Y') | int > 2030 %}x{% endif %}", "review", "template.date",
        "It does something else from a day on.",
    ),
    _template("unseen", "a\u200bb\u202ec", "review", "template.unseen", "It holds what nobody sees."),
    _template("broken", "{% for", "unverifiable", "template.malformed", "It ends in the middle."),
)  # fmt: skip
