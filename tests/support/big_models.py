"""Checkpoints of a gigabyte that take no space: the tensors are holes in a sparse file.

place = torch_zip(tmp_path / "pytorch_model.bin", tensors=256, nbytes=4 << 20)
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path


def torch_zip(place: Path, *, tensors: int, nbytes: int, program: bytes | None = None) -> Path:
    """A checkpoint as `torch.save` lays it out: stored entries, aligned to 64 bytes, sizes behind the data.

    Args:
        program: instead of the pickle of a state dict.
    """
    head = [("model/data.pkl", program or state_dict(tensors, nbytes // 4)), ("model/byteorder", b"little")]
    crc = zlib.crc32(bytes(nbytes))
    directory = bytearray()
    count = 0
    with place.open("wb") as file:

        def add(name: str, data: bytes | None) -> None:
            nonlocal directory, count
            at, raw = file.tell(), name.encode()
            size, check = (nbytes, crc) if data is None else (len(data), zlib.crc32(data))
            padding = -(at + 30 + len(raw) + 4) % 64
            extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            file.write(
                struct.pack("<4s5H3L2H", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0, len(raw), len(extra)) + raw + extra
            )
            file.write(data) if data is not None else file.seek(size, 1)
            file.write(b"PK\x07\x08" + struct.pack("<3L", check, size, size))
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\1\2", 0, 0, 0x808, 0, 0, 0, check, size, size, len(raw), 0, 0, 0, 0, 0, at
            )
            directory += raw
            count += 1

        for name, data in head:
            add(name, data)
        for number in range(tensors):
            add(f"model/data/{number}", None)
        add("model/version", b"3\n")
        at = file.tell()
        file.write(directory)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), at, 0))
    return place


def state_dict(tensors: int, count: int) -> bytes:
    """The program that builds `tensors` float tensors of `count` numbers each."""
    out = bytearray(b"\x80\x02}(")
    for number in range(tensors):
        out += _text(f"encoder.layer.{number}.attention.output.dense.weight")
        out += b"ctorch._utils\n_rebuild_tensor_v2\n((" + _text("storage") + b"ctorch\nFloatStorage\n"
        out += _text(str(number)) + _text("cpu") + b"J" + struct.pack("<i", count) + b"tQK\0"
        out += b"J" + struct.pack("<i", count) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return bytes(out + b"u.")


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def safetensors(place: Path, *, tensors: int, nbytes: int) -> Path:
    """A file of `tensors` tensors of `nbytes` each, all zero."""
    table = {
        f"model.layers.{n}.mlp.down_proj.weight": {
            "dtype": "F32",
            "shape": [nbytes // 4],
            "data_offsets": [n * nbytes, (n + 1) * nbytes],
        }
        for n in range(tensors)
    }
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 8)
    with place.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + tensors * nbytes)
    return place


__all__ = ["safetensors", "state_dict", "torch_zip"]
