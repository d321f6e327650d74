"""Takes from a process what a reader of files does not need: memory without end, files, sockets, programs.

Limits are the kernel's (setrlimit). The system calls are refused by a seccomp filter, which needs no rights; where the
machine is none of the two that are listed here, the limits alone hold, and `confine` says so.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
from pathlib import Path

_REFUSED = {
    "x86_64": (
        0xC000003E,  # AUDIT_ARCH_X86_64
        317,  # seccomp
        # open creat openat openat2 socket connect bind execve execveat ptrace fork vfork kill tkill unlink unlinkat
        # rename
        (2, 85, 257, 437, 41, 42, 49, 59, 322, 101, 57, 58, 62, 200, 87, 263, 82,
         # renameat renameat2 mkdir mkdirat rmdir link linkat symlink symlinkat chmod fchmodat chown mount
         264, 316, 83, 258, 84, 86, 265, 88, 266, 90, 268, 92, 165,
         # process_vm_readv process_vm_writev io_uring_setup bpf keyctl pidfd_getfd perf_event_open
         310, 311, 425, 321, 250, 438, 298),
    ),
    "aarch64": (
        0xC00000B7,
        277,
        (56, 437, 198, 203, 200, 221, 281, 117, 129, 130, 35, 38, 276, 34, 37, 36, 53, 54, 40, 270, 271, 425, 280, 219,
         438, 241),
    ),
}  # fmt: skip
_LOAD, _EQUAL, _ABOVE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO_EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_X32 = 0x40000000
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1


def limit(memory: int) -> None:
    """No core, no file that grows, few descriptors, and so much memory beside what is taken already."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, taken + memory), (resource.RLIMIT_DATA, taken + memory), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_STACK, 64 << 20),
    ):  # fmt: skip
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def refuse_calls() -> bool:
    """From now on this process opens nothing. False where the machine or the kernel does not know how."""
    known = _REFUSED.get(platform.machine())
    if known is None:
        return False
    machine, number, refused = known
    program = _program(machine, refused)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    held = ctypes.create_string_buffer(program)
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    return bool(libc.syscall(number, _SET_FILTER, _ALL_THREADS, ctypes.create_string_buffer(described)) == 0)


def _program(machine: int, refused: tuple[int, ...]) -> bytes:
    """The filter as the kernel reads it: instruction, jump if true, jump if false, operand."""
    count = len(refused)
    lines = [
        (_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0), (_ABOVE, count + 1, 0, _X32),
        *((_EQUAL, count - n, 0, call) for n, call in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO_EPERM),
    ]  # fmt: skip
    return b"".join(struct.pack("HBBI", *line) for line in lines)
