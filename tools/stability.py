"""Compare the notebooks with their committed outputs again and again, under different arithmetic.

    python tools/stability.py [NOTEBOOK ...]

Three times as they are, then on one thread, then with AVX2 kernels only, as on
an older processor. What passes all of them gives the same text on another machine.
"""

import os
import subprocess
import sys
import time

from run_tests import NBVAL, PYTEST, ROOT

CONDITIONS = [
    ("first run", {}),
    ("second run", {}),
    ("third run", {}),
    ("one thread", {"OMP_NUM_THREADS": "1"}),
    ("AVX2 kernels", {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}),
]


def main(notebooks: list[str]) -> int:
    """Run every condition; 0 when the outputs were the same under all of them."""
    rows = []
    for title, settings in CONDITIONS:
        print(f"\n==> {title} {' '.join(f'{k}={v}' for k, v in settings.items())}", flush=True)
        start = time.perf_counter()
        command = [*PYTEST, *NBVAL, *(notebooks or ["notebooks"])]
        status = subprocess.run(command, cwd=ROOT, env=os.environ | settings).returncode
        rows.append((title, time.perf_counter() - start, status))
    print("\nCondition      seconds  result")
    for title, seconds, status in rows:
        print(f"{title:<13} {seconds:>8.0f}  {'same output' if status == 0 else f'FAILED (exit status {status})'}")
    return int(any(status for *_, status in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
