"""WebAssembly modules: what they ask of the program that runs them.

    image = read(view)

Source: the WebAssembly core specification, chapter 5 (binary format).
"""

from __future__ import annotations

from nbguard.formats.machine_code import MAX_NAMES, Image, NativeError
from nbguard.formats.view import View

MAGIC = b"\0asm"
MAX_SECTION = 64 << 20
"""Bytes of a section that is read (imports, exports); code is only measured."""
_IMPORTS, _EXPORTS, _START, _CODE = 2, 7, 8, 10
_ORDER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self) -> int:
        value = shift = 0
        while shift < 70:
            if self.at >= len(self.data):
                raise NativeError("The WebAssembly module is cut off.")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
        raise NativeError("A number in the WebAssembly module is too long.")

    def text(self) -> str:
        length = self.number()
        if length > len(self.data) - self.at:
            raise NativeError("The WebAssembly module is cut off.")
        self.at += length
        return self.data[self.at - length : self.at][:512].decode("utf-8", "backslashreplace")

    def limits(self) -> None:
        flags = self.number()
        self.number()
        if flags & 1:
            self.number()
        if flags & 8:
            self.number()


def read(view: View) -> Image:
    """Read one module.

    Raises:
        NativeError: it is cut off, or is none of version 1.
    """
    if view.read(0, 8) != MAGIC + b"\1\0\0\0":
        raise NativeError("This is a WebAssembly file of a version that cannot be read.")
    image = Image("WebAssembly", kind="module", machine="the WebAssembly machine")
    at, last = 8, 0
    while at < view.size:
        head = _Bytes(view.read(at, 11))
        number, length = head.data[0], 0
        head.at = 1
        length = head.number()
        start = at + head.at
        if start + length > view.size:
            raise NativeError("A section of the WebAssembly module reaches beyond its end.")
        if number:
            if number not in _ORDER or _ORDER[number] <= last:
                raise NativeError("The sections of the WebAssembly module are none that are known, or in disorder.")
            last = _ORDER[number]
        if number in (_IMPORTS, _EXPORTS):
            if length > MAX_SECTION:
                raise NativeError("A section of the WebAssembly module is larger than any real one.")
            _names(_Bytes(view.read(start, length)), image, number)
        elif number == _START:
            image.starts.append("a start function")
        elif number == _CODE and length:
            image.code.append((start, length))
        at = start + length
    image.end = view.size
    return image


def _names(data: _Bytes, image: Image, section: int) -> None:
    count = data.number()
    if count > MAX_NAMES:
        raise NativeError("The WebAssembly module has more names than are looked at.")
    for _ in range(count):
        if section == _EXPORTS:
            image.keep(image.exports, data.text())
            data.number()
            data.number()
            continue
        module, name = data.text(), data.text()
        image.keep(image.imports, f"{module}.{name}")
        _import(data)
    if image.imports:
        image.libraries = sorted({name.partition(".")[0] for name in image.imports})[:100]


def _import(data: _Bytes) -> None:
    """Skip what kind of thing is imported."""
    kind = data.number()
    if kind == 0:
        data.number()
    elif kind == 1:
        if data.number() in (0x63, 0x64):  # a reference with a type of its own
            data.number()
        data.limits()
    elif kind == 2:
        data.limits()
    elif kind == 3:
        if data.number() in (0x63, 0x64):
            data.number()
        data.number()
    elif kind == 4:
        data.number()
        data.number()
    else:
        raise NativeError("The WebAssembly module imports something that is not known.")
