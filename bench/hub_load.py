"""`AutoModel.from_pretrained` of a 200 MB model on a Hub of this machine: downloaded, and again from the cache.

    python -m bench.run hub_load

Guarded, nobody is asked, and the policy lets safe data load. Importing torch, transformers and nbguard is not counted.
A Hub on this machine sends as fast as the disk reads, so the digests, which the plain client does not take, weigh the
most they ever can.
"""

from __future__ import annotations

import json
import shutil
import sys

from bench.harness import ROOT, Row, Workplace, interleave, python

sys.path.insert(0, str(ROOT / "examples"))

CHILD = """
import contextlib, json, os, shutil, sys, tempfile, time
home = tempfile.mkdtemp(dir=sys.argv[2])
os.environ |= json.loads(sys.argv[3]) | {"HF_HOME": home, "HF_HUB_CACHE": home + "/hub", "HF_HUB_OFFLINE": "0"}
import torch, transformers
from transformers import BertModel
transformers.utils.logging.disable_progress_bar()
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
if sys.argv[1] == "on":
    import nbguard
    nbguard.install()
times = []
with contextlib.redirect_stdout(sys.stderr):
    for _ in range(3):
        begun = time.perf_counter()
        BertModel.from_pretrained("bench/model")
        times.append(time.perf_counter() - begun)
shutil.rmtree(home)
print(json.dumps({"download": times[0], "cached": min(times[1:])}))
"""


def measure(place: Workplace) -> list[Row]:
    from loopback_hub import Hub
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    words = max(1000, int(60_000 * place.scale))
    model = BertModel(BertConfig(vocab_size=words, hidden_size=768, num_hidden_layers=1, intermediate_size=768))
    weights = place.folder / "model.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights, {"format": "pt"})
    rows: list[Row] = []
    with Hub(place.folder / "hub") as hub:
        hub.store.push("bench/model", {"config.json": model.config.to_json_string().encode(), weights.name: weights})
        settings = json.dumps(hub.environment(place.folder / "home"))
        off, on = interleave([python(CHILD, side, str(place.folder), settings) for side in ("off", "on")], place)
    size = weights.stat().st_size / 1e6
    for when in ("download", "cached"):
        what = f"from_pretrained, {size:.0f} MB, {when}"
        note = f"{(on.of(when) - off.of(when)) * 1000:+.0f} ms"
        rows.append(Row(what, "guard off", off.of(when), "s"))
        rows.append(Row(what, "guard on", on.of(when), "s", ratio=on.of(when) / off.of(when), note=note))
    shutil.rmtree(place.folder / "hub", ignore_errors=True)
    weights.unlink()
    return rows
