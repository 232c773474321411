"""How a process that runs a notebook is ended together with everything that it started."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Numbers of prctl(2): read and set whether this process becomes the parent of those below it that lost theirs.
_GET, _SET = 37, 36
#: Seconds that are spent on ending what a notebook left behind.
_PATIENCE = 5.0
_LINUX = sys.platform.startswith("linux")


@contextlib.contextmanager
def adopting() -> Iterator[set[int]]:
    """Become the parent of processes that lose theirs, where the system knows this (Linux).

    A process that moved into a session of its own is then still found; yields the children that were there before.
    """
    if not _LINUX:
        yield set()
        return
    prctl, before = ctypes.CDLL(None).prctl, ctypes.c_int(0)
    prctl(_GET, ctypes.byref(before), 0, 0, 0)
    prctl(_SET, 1, 0, 0, 0)
    try:
        yield set(_children(os.getpid()))
    finally:
        prctl(_SET, before.value, 0, 0, 0)


def end(process: subprocess.Popen, before: set[int]) -> None:
    """End a process and all that it started, if it is still there or they are.

    Args:
        process: the leader of a session of its own.
        before: children of this process that have nothing to do with it, from :func:`adopting`.
    """
    below = [] if _LINUX or process.poll() is not None else _below(process.pid)
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    _kill(below)
    last = time.monotonic() + _PATIENCE
    while _LINUX and time.monotonic() < last:  # what is ended hands over its own children in its turn
        strangers = [pid for pid in _children(os.getpid()) if pid not in before and _elsewhere(pid)]
        if not strangers:
            return
        _kill(strangers)
        for pid in strangers:
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _children(parent: int) -> list[int]:
    """Processes whose parent this is, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold anything; the parent is the second field after it.
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _below(parent: int) -> list[int]:
    """All processes below one, where there is no /proc: psutil tells them, if it is installed."""
    try:
        import psutil
    except ImportError:
        return []
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(parent).children(recursive=True)]
    return []


def _elsewhere(pid: int) -> bool:
    """Whether a child is in another session than this process, as all are that come from a notebook."""
    try:
        return os.getsid(pid) != os.getsid(0)
    except OSError:
        return False
