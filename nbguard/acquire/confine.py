"""Lock the running process up before it reads hostile bytes; for the child that converts.

    layers = confine("/private/folder", memory=8 << 30, file_size=4 << 30, seconds=600)
    # from here on: no file but below that folder, no program, no connection

Each layer is tried, and the names of those that hold are returned, so that a report can say which they were. Linux
only; elsewhere the limits on resources are all there is. Numbers are those of Linux' uapi headers (`landlock.h`,
`seccomp.h`, `asm/unistd.h`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_SIGKILL = 9
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446
_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
"""Landlock's version → every right over files that it knows; from 5 on, device control as well."""
_WRITE, _READ, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
_CLONE_THREAD = 0x00010000
"""`clone`'s flag for one more thread of the same process (linux/sched.h)."""
_ENOSYS = 38
_FORBIDDEN = {
    "x86_64": {
        "arch": 0xC000003E, "clone": 56, "clone3": 435,
        "fork": 57, "vfork": 58,
        "socket": 41, "socketpair": 53, "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310,
        "process_vm_writev": 311, "io_uring_setup": 425, "bpf": 321, "unshare": 272, "setns": 308, "mount": 165,
        "pidfd_open": 434, "pidfd_getfd": 438, "keyctl": 250, "add_key": 248, "userfaultfd": 323,
    },
    "aarch64": {
        "arch": 0xC00000B7, "clone": 220, "clone3": 435,
        "socket": 198, "socketpair": 199, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "io_uring_setup": 425, "bpf": 280, "unshare": 97, "setns": 268, "mount": 40,
        "pidfd_open": 434, "pidfd_getfd": 438, "keyctl": 219, "add_key": 217, "userfaultfd": 282,
    },
}  # fmt: skip
"""System calls that no conversion needs, by machine, with what the audit architecture is called there.

`clone` may still start threads; what `clone3` is asked for cannot be seen from here, and the C library falls back to
`clone` where there is none.
"""


def confine(folder: str, code: Iterable[str] = (), *, memory: int, file_size: int, seconds: int) -> list[str]:
    """Give up what a conversion does not need; `folder` is the only place that stays writable.

    Args:
        code: folders of Python's own code, which stay readable: libraries import parts of themselves late.
        memory: bytes of address space. file_size: bytes of the largest file. seconds: of processor time.

    Returns the names of the layers that hold: `limits`, `landlock N`, `seccomp`.
    """
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 128),
    ):
        resource.setrlimit(what, (most, most))
    layers = ["limits"]
    if sys.platform != "linux":
        return layers
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return layers
    version = _landlock(libc, folder, code)
    if version:
        layers.append(f"landlock {version}")
    if _seccomp(libc):
        layers.append("seccomp")
    return layers


def end_with(parent: int) -> bool:
    """End this process when the one that started it ends, however that ends. False where it has ended already.

    Args:
        parent: id of the process that started this one, as it told it: who is gone by now has been replaced.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def first_to_go() -> None:
    """Where memory runs out, have the system end this process before any other of its user's (proc(5))."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _landlock(libc: ctypes.CDLL, folder: str, code: Iterable[str]) -> int:
    """Landlock's version where it restricts this process now, else 0."""
    version: int = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return 0
    rights = _FS_RIGHTS.get(version, (1 << 16) - 1)
    handled = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_LANDLOCK_CREATE, handled[:size], size, 0)
    if ruleset < 0:
        return 0
    try:
        rules = [(folder, _WRITE | _READ | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE)]
        rules += [(place, _READ | _READ_DIR) for place in code if os.path.isdir(place)]
        for place, allowed in rules:
            handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
            try:
                if libc.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed & rights, handle), 0) != 0:
                    return 0
            finally:
                os.close(handle)
        return version if libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Whether the forbidden system calls fail with EPERM from now on, and another machine's calls end the process."""
    calls = dict(_FORBIDDEN.get(platform.machine(), {}))
    arch = calls.pop("arch", None)
    if arch is None:
        return False
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    kill, refuse, missing, allow = 0x80000000, 0x00050001, 0x00050000 | _ENOSYS, 0x7FFF0000
    program = [(load, 0, 0, 4), (equal, 1, 0, arch), (give, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, kill)]  # x32 numbers are another table
    program += [(equal, 0, 1, calls.pop("clone3")), (give, 0, 0, missing)]
    program += [(equal, 0, 4, calls.pop("clone")), (load, 0, 0, 16)]  # the low half of its first argument
    program += [(any_bit, 0, 1, _CLONE_THREAD), (give, 0, 0, allow), (give, 0, 0, refuse)]
    numbers = sorted(calls.values())
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append((equal, left, 0, number))
    program += [(give, 0, 0, allow), (give, 0, 0, refuse)]
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP" if struct.calcsize("P") == 8 else "HxxP", len(program), ctypes.addressof(buffer))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)
