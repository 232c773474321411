"""The process that a reader's notebook runs in; :mod:`course_utils.teaching.grading` starts it and reads what it says.

It takes a job as JSON from its standard input and writes events, a line of JSON each, into the file that the
environment names. Every event carries the job's number, which the notebook's code is not told.
"""

import ast
import json
import os
import signal
import sys
from collections.abc import Callable

from course_utils.teaching import exercises

#: Name by which a cell reaches the real check, whatever it calls ``check`` itself.
_NAME = "__several_tokens_check__"


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
    job = json.loads(sys.stdin.buffer.read())
    tell = _teller(os.environ.pop("COURSE_EVENTS"), job["nonce"])
    _limit(job["memory"])
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.ast_transformers.append(_Calls())
    # Before the first cell: what a cell puts in the place of a check comes too late.
    judge, known = exercises.judge, exercises.exercises(job["lesson"])
    at = [0]

    def check(name: str, answer=None):
        if name not in known:
            return exercises.check(name, answer)
        verdict = judge(known[name], answer)
        tell(cell=at[0], exercise=name, status=verdict.status, message=verdict.message)
        return verdict

    for at[0], cell in enumerate(job["cells"]):
        tell(cell=at[0], begin=True)
        if at[0] not in job["skip"]:
            shell.user_ns[_NAME] = check
            if said := _cell(shell, cell, job["cell_seconds"]):
                tell(cell=at[0], error=said)
    tell(done=True)
    os._exit(0)  # threads and handlers that the notebook left behind have no say


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
    return None if error is None else f"the cell raised {type(error).__name__}: {str(error)[:300]}"


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
