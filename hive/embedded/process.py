"""Starting processes that end with us, and ending processes by their pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hive.embedded.places import Account

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_LOG_LIMIT = 10 << 20
_WISHES = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def dies_with_us(signum: int) -> Callable[[], None]:
    """What a child runs between fork and exec, so that the kernel sends it `signum` when we are gone.

    It counts from the thread that starts the child: start children from one that lives as long as the process. It
    must run after privileges are dropped, because a change of user clears the request; subprocess keeps that order.
    """
    return dies_with(os.getpid(), signum)


def dies_with(parent: int, signum: int) -> Callable[[], None]:
    """The same for a child of the process `parent`, to be called in that child."""

    def ask() -> None:
        for wish in _WISHES:
            signal.signal(wish, signal.SIG_DFL)  # our handlers are not the child's
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WISHES)
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:  # we were gone before the request was made
            os._exit(1)

    return ask


def end_with_parent(grace: float) -> None:
    """Kill this process and what it started `grace` seconds after the one that started it is gone.

    The kernel asks it to end at once (`dies_with`); one that hangs, such as on a server that went too, does not hear.
    For a process that leads its session, as `spawn` starts it; others are left alone.
    """
    parent = os.getppid()
    if os.getsid(0) != os.getpid():
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        time.sleep(grace)
        os.killpg(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def spawn(
    argv: Sequence[str],
    *,
    log: IO[bytes],
    env: Mapping[str, str],
    death_signal: int,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a terminal's Ctrl-C does not reach it.

    Call it, and note the process it gives, inside `undisturbed`.
    """
    return subprocess.Popen(  # noqa: S603 - the programs of our wheels, or our own interpreter
        argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
        pass_fds=pass_fds,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=dies_with_us(death_signal),  # noqa: PLW1509 - two system calls; no other way asks for this signal
    )


def call_itself(argv: Sequence[str]) -> None:
    """Let this process be listed with these arguments, which are longer than those it was executed with.

    They are written over those and over the first of the variables that stand behind them, so all variables must have
    been set anew before, which moves them elsewhere. The kernel then shows them up to their end, with spaces between.
    Fields 48 to 51 of /proc/self/stat (proc_pid_stat(5)) say where all that stands; if they cannot be read, nothing
    happens.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
        start, end, last = int(fields[45]), int(fields[46]), int(fields[48])
        told = " ".join(argv).encode()[: max(0, last - start - 1)]
        if start and end > start:
            ctypes.memmove(start, told.ljust(end - start, b"\0") + b"\0", max(len(told), end - start) + 1)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back the signals that ask us to end, for the moment between the birth of a process and its noting down.

    A handler that raises in between would leave a process that nobody knows.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WISHES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_log(path: Path) -> IO[bytes]:
    """A log to append to, readable by us alone; one that grew beyond 10 MB is set aside first as `<name>.1`."""
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def last_lines(path: Path, *, since: int = 0, lines: int = 5) -> str:
    """The end of a log, at most 8 KB of it, not further back than byte `since`."""
    with path.open("rb") as log:
        log.seek(max(since, path.stat().st_size - 8192))
        return "\n".join(log.read().decode(errors="replace").strip().splitlines()[-lines:])


def processes_in(folder: Path) -> list[psutil.Process]:
    """Living processes whose working folder is this one: the servers here change into their data folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def signal_all(processes: Iterable[psutil.Process], signum: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


def signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    """Signal a process that `spawn` started and all that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signum)


def kill_group(process: subprocess.Popen[bytes], patience: float = 5.0) -> None:
    """Kill a process that `spawn` started and all that it started in its session, and wait until none of them lives.

    One that was killed may still write for a moment: a folder is only removed after all of them are gone.
    """
    signal_group(process, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + patience
    while _living_in_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def _living_in_group(group: int) -> bool:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for the end, at most `timeout` seconds."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def empty_folder(folder: Path, signals: Sequence[int], patience: float = 5.0) -> bool:
    """End every process that works in `folder`, one signal after the other; whether none is left."""
    for signum in signals:
        signal_all(processes_in(folder), signum)
        deadline = time.monotonic() + patience
        while processes_in(folder):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return True
    return not processes_in(folder)


def exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process that `spawn` started has ended; what it left in its session is killed then.

    Its number is given back only after that, so the signal cannot reach a stranger's group.
    """
    if process.returncode is not None:
        return True
    if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return False
    signal_group(process, signal.SIGKILL)
    process.wait()
    return True
