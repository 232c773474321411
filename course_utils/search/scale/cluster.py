"""Cluster: Ray on this machine, or one that runs elsewhere.

Ray is an extra (``pip install 'several-tokens[scale]'``); nothing here imports it before it is needed.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Bytes of Ray's shared memory on this machine; through it go only numbers of shards and statistics.
STORE = 128 * 2**20
#: A package that Ray's processes do without.
_SLOW = "rfc3987_syntax"
#: Settings of Ray: no statistics about its use are sent, and its core says only what ends it.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


@contextmanager
def running(address: str | None = None, workers: int | None = None) -> Iterator[None]:
    """Ray: the one at the address, or one that is started on this machine, without a dashboard; at the end it is left.

    A Ray that runs in this process already is used as it is. Several runs in one such context share the start, which
    takes some seconds.

    Args:
        address: ``"auto"`` for the cluster that this machine belongs to, or ``HOST:PORT`` of one.
        workers: how many must find a core, also where there are fewer; one of several threads counts as several.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is none at that address, or it does not start here.
    """
    ray = package()
    if ray.is_initialized():
        yield
        return
    options: dict[str, object] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        options["address"] = address
    else:
        cores = max(workers or 1, os.cpu_count() or 1)
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
    with light_processes():
        try:
            with _no_errors_shown():
                ray.init(**options)
        except Exception as error:  # Ray raises bare ones too
            remedy = "; start one with `ray start --head`, or leave the address out" if address else ""
            where = address or "this machine"
            raise ConnectionError(f"no Ray at {where}: {str(error).strip()[:300]}{remedy}") from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def light_processes() -> Iterator[None]:
    """Let Ray's processes start without the package rfc3987_syntax, which JupyterLab brings along.

    A library of Ray's imports it where it is there, to check addresses that nobody checks here, and it works for three
    seconds at import. Seven processes on two cores do not get ready in the time that Ray gives them.
    """
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory(prefix="several-tokens-") as folder:
        Path(folder, f"{_SLOW}.py").write_text("raise ImportError('left out')\n", encoding="utf-8")
        os.environ["PYTHONPATH"] = folder if before is None else os.pathsep.join([folder, before])
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("PYTHONPATH", None)
            else:
                os.environ["PYTHONPATH"] = before


@contextmanager
def _no_errors_shown() -> Iterator[None]:
    """Keep what libraries in C++ write to the standard error away from the reader: Ray greets with its settings."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def package():
    """The package ``ray`` with Ray Data, quiet.

    Raises:
        ModuleNotFoundError: it is not installed; says how to.
    """
    # Before the import: Ray would send statistics about its use, and draw bars.
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    left_out = _SLOW not in sys.modules
    if left_out:
        sys.modules[_SLOW] = None  # Python then takes it for a package that is not there
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"encoding at scale needs Ray Data ({error.name} is missing): pip install 'several-tokens[scale]', or "
            "'.[scale]' in the folder of the course"
        ) from None
    finally:
        if left_out:
            del sys.modules[_SLOW]
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
