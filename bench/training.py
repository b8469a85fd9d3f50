"""An ordinary training loop, guard off and on: a DataLoader, forward, backward, optimiser step, a checkpoint.

    python -m bench.run training

The loop without the guard runs twice a round: how far those two differ is the noise.
"""

from __future__ import annotations

from statistics import median

from bench.harness import Row, Workplace, interleave, python

CHILD = """
import io, json, sys, time
import torch
from torch.utils.data import DataLoader, TensorDataset
if sys.argv[1] == "on":
    import nbguard
    nbguard.install()
    assert nbguard.hooks.installed()
torch.manual_seed(0)
torch.set_num_threads(1)
data = DataLoader(TensorDataset(torch.randn(4096, 64), torch.randint(0, 8, (4096,))), batch_size=32, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 8))
optimizer = torch.optim.AdamW(model.parameters())
loss_of = torch.nn.CrossEntropyLoss()
begun = time.perf_counter()
for _ in range(int(sys.argv[2])):
    for x, y in data:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), io.BytesIO())
print(json.dumps({"spent": time.perf_counter() - begun}))
"""


def measure(place: Workplace) -> list[Row]:
    epochs = str(max(2, int(12 * place.scale)))
    sides = [python(CHILD, side, epochs) for side in ("off", "on", "off")]
    off, on, again = interleave(sides, place, repeats=max(5, place.repeats))
    ratio = on.of("spent") / off.of("spent")
    pairs = [a["spent"] / b["spent"] for a, b in zip(again.outputs, off.outputs, strict=True)]
    noise = median(abs(p - 1) for p in pairs)
    return [
        Row("training loop", "guard off", off.of("spent"), "s"),
        Row(
            "training loop",
            "guard off, again",
            again.of("spent"),
            "s",
            ratio=again.of("spent") / off.of("spent"),
            note=f"off against off differs by {noise:.1%} in the median",
        ),
        Row(
            "training loop",
            "guard on",
            on.of("spent"),
            "s",
            ratio=ratio,
            goal="within noise",
            met=ratio - 1 <= max(noise, 0.02),
        ),
    ]
