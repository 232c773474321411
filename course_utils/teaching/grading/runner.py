"""The process that a reader's notebook runs in; :mod:`course_utils.teaching.grading` starts it and reads what it says.

It takes a job as a line of JSON from its standard input, says that it is ready, waits for a second line, and writes
events, a line of JSON each, into the file that the environment names. Every event carries the job's number. A cell is
not told the number and has to dig for it; it is no secret from one that does, so the grader trusts no event's form.
"""

import ast
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import BinaryIO

from course_utils.teaching import exercises
from course_utils.teaching.exercises import variants

#: Name by which a cell reaches the real check, whatever it calls ``check`` itself.
_NAME = "__several_tokens_check__"
#: The longest message or error that is told.
_LONGEST = 2000


class _TooLong(BaseException):
    """No Exception: ``except Exception`` in a cell must not swallow it."""


class _Calls(ast.NodeTransformer):
    """Turns ``check("02.1", …)``, however it is reached, into a call of the real one."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)
        first = node.args[0] if node.args else None
        if called == "check" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            node.func = ast.copy_location(ast.Name(_NAME, ast.Load()), node.func)
        return node


def work() -> None:
    """Run the notebook that the standard input describes."""
    grader = _own_input()
    job = json.loads(grader.readline())
    tell = _teller(os.environ.pop("COURSE_EVENTS"), job["nonce"])
    _limit(job["memory"])
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.ast_transformers.append(_Calls())
    at = [0]
    check = _checker(job["lesson"], job["seed"], tell, at)
    tell(ready=True)
    if grader.readline() != b"go\n":
        os._exit(1)
    threading.Thread(target=_end_with, args=(grader,), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the grader reads here why a process could not start, no more

    for at[0], cell in enumerate(job["cells"]):
        tell(cell=at[0], begin=True)
        if at[0] not in job["skip"]:
            shell.user_ns[_NAME] = check
            if said := _cell(shell, cell, job["cell_seconds"]):
                tell(cell=at[0], error=said)
    tell(done=True)
    os._exit(0)  # threads and handlers that the notebook left behind have no say


def _checker(lesson: str, seed: int | None, tell: Callable, at: list[int]) -> Callable:
    """The ``check`` that cells reach: it judges with the course's own names as they are now, before the first cell.

    All exercises that have variants are judged by one seed, whatever seed a single call names.
    """
    known = {name: dataclasses.replace(asked) for name, asked in exercises.exercises(lesson).items()}
    if seed is not None:
        known |= {name: variants.find(name, seed) for name in variants.varied(lesson)}
    inside = f"{exercises.__name__}."
    modules = [exercises, *(module for name, module in sys.modules.items() if name.startswith(inside))]
    kept, judge = [(module, dict(vars(module))) for module in modules], exercises.judge

    def check(name: str, answer=None):
        _restore(kept)  # a check looks its helpers up while it runs: what a cell put in their place goes first
        published = name.partition("/")[0]
        if published not in known:
            return exercises.check(name, answer)
        verdict = judge(known[published], answer)
        tell(cell=at[0], exercise=published, status=verdict.status, message=str(verdict.message)[:_LONGEST])
        return verdict

    return check


def _restore(kept: list[tuple[ModuleType, dict]]) -> None:
    for module, names in kept:
        now = vars(module)
        for name in now.keys() - names.keys():  # a new name may hide a built-in function
            if now[name] is not sys.modules.get(f"{module.__name__}.{name}"):
                del now[name]
        now.update(names)


def _cell(shell, source: str, seconds: float) -> str | None:
    """Run one cell; None, or what went wrong."""

    def interrupt(number, frame):
        raise _TooLong

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        result = shell.run_cell(source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
    except BaseException as raised:  # exit() and its like end a cell, not the notebook
        error = raised
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    if isinstance(error, _TooLong):
        return "the cell took too long"
    return None if error is None else f"the cell raised {_named(error)}"


def _named(error: BaseException) -> str:
    """An error's type and message; a message is made by the cell's own code, and may raise in its turn."""
    kind = type(error).__name__
    try:
        return f"{kind}: {str(error)[:300]}"
    except BaseException:
        return kind


def _own_input() -> BinaryIO:
    """The standard input, out of the reach of ``input()``, which finds nothing instead."""
    own = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return own


def _end_with(grader: BinaryIO) -> None:
    """End this process and its group when the grader's end of the pipe closes: the grader is gone."""
    while os.read(grader.fileno(), 1):  # not grader.read: its lock would stay locked in processes that a cell forks
        pass
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _teller(file: str, nonce: str) -> Callable:
    number = os.open(file, os.O_WRONLY | os.O_APPEND)

    def tell(**event) -> None:
        os.write(number, (json.dumps(event | {"nonce": nonce}) + "\n").encode())

    return tell


def _limit(memory: int) -> None:
    """Hold the process to so many bytes of address space, where the system knows such a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    memory = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ValueError, OSError):  # macOS knows the limit and may refuse to set it
        return
