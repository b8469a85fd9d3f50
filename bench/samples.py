"""The files that are measured on, made in code.

    torch_zip(folder / "model.pt", size=10**9)
    sparse_torch_zip(folder / "huge.pt", size=8 * 10**9)     # occupies a few kilobytes on disk

Sizes are in bytes everywhere.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import pickle
import random
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any


def torch_zip(path: Path, size: int) -> None:
    """An ordinary `torch.save` file of about `size` bytes: a state dict of 64 tensors whose bytes are all written."""
    import torch

    count = size // 64 // 4
    torch.save(OrderedDict((f"layers.{i}.weight", torch.full((count,), float(i))) for i in range(64)), path)


def records(size: int) -> list[dict[str, Any]]:
    """Plain containers whose pickle has about `size` bytes: dicts, lists, strings, numbers."""
    dice = random.Random(7)
    return [
        {
            "id": i,
            "name": f"item-{dice.randrange(10**9)}",
            "score": dice.random(),
            "tags": [f"t{dice.randrange(10**6)}" for _ in range(4)],
            "pair": (i, float(i)),
        }
        for i in range(size // 104)
    ]


def objects(size: int) -> list[Any]:
    """Objects of classes that a pickle has to build, about `size` bytes of it: dates, times, ordered dicts."""
    day = datetime.date(1970, 1, 1)
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return [
        OrderedDict(day=day + datetime.timedelta(days=i % 20000), at=moment + datetime.timedelta(seconds=i), n=i)
        for i in range(size // 52)
    ]


def pickled(path: Path, value: object) -> int:
    """Write `value` as a pickle of protocol 4; its size in bytes."""
    with path.open("wb") as handle:
        pickle.dump(value, handle, protocol=4)
    return path.stat().st_size


def sparse_safetensors(path: Path, size: int) -> None:
    """A valid safetensors file of `size` bytes of zeros that are a hole on disk."""
    count = size // 4
    header = json.dumps({"weight": {"dtype": "F32", "shape": [count], "data_offsets": [0, count * 4]}}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as handle:
        handle.write(struct.pack("<Q", len(header)) + header)
        handle.truncate(8 + len(header) + count * 4)


class _Storage:
    """Stands where a tensor's storage would; the pickler turns it into a persistent id."""


class _Tensor:
    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self) -> tuple[Any, ...]:
        from torch._utils import _rebuild_tensor_v2

        return _rebuild_tensor_v2, (_Storage(), 0, (self.count,), (1,), False, OrderedDict())


def sparse_torch_zip(path: Path, size: int) -> None:
    """A torch zip with one float tensor of `size` bytes of zeros that are a hole on disk (zip64, as torch does).

    The tensor's CRC in the directory is zero: no loader checks it, and no one should read the tensor to find out.
    """
    import torch

    count = size // 4

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(obj, _Storage) else None

    program = io.BytesIO()
    Pickler(program, protocol=2).dump(OrderedDict(weight=_Tensor(count)))
    entries: list[tuple[bytes, int, int, int]] = []
    with path.open("wb") as handle:

        def member(name: str, data: bytes | None, length: int) -> None:
            raw = name.encode()
            crc = zlib.crc32(data) if data is not None else 0
            offset = handle.tell()
            pad = -(offset + 30 + len(raw) + 20 + 4) % 64
            extra = struct.pack("<HHQQ", 1, 16, length, length) + struct.pack("<HH", 0x4246, pad) + b"Z" * pad
            handle.write(
                struct.pack("<4s5HLLLHH", b"PK\3\4", 45, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(raw), len(extra))
            )
            handle.write(raw + extra)
            if data is None:
                handle.seek(length, os.SEEK_CUR)
            else:
                handle.write(data)
            entries.append((raw, crc, length, offset))

        member("huge/data.pkl", program.getvalue(), program.getbuffer().nbytes)
        member("huge/byteorder", b"little", 6)
        member("huge/data/0", None, count * 4)
        member("huge/version", b"3\n", 2)
        begin = handle.tell()
        unset = 2**32 - 1
        for raw, crc, length, offset in entries:
            extra = struct.pack("<HHQQQ", 1, 24, length, length, offset)
            fixed = (b"PK\1\2", 45, 45, 0, 0, 0, 0, crc, unset, unset, len(raw), len(extra), 0, 0, 0, 0, unset)
            handle.write(struct.pack("<4s6HLLLHHHHHLL", *fixed) + raw + extra)
        end = handle.tell()
        handle.write(
            struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, len(entries), len(entries), end - begin, begin)
        )
        handle.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        handle.write(struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, len(entries), len(entries), 2**32 - 1, 2**32 - 1, 0))
