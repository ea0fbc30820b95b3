"""One side of a benchmark in a process of its own, asked for rounds of work over its input.

    python benchmarks/worker.py SIDE CASE [ROWS]

CASE is the JSON of a ``workloads.Case``; ROWS, from ``mmjax_side.save_compared``, is what PyTorch
compares on. When all is compiled and run once, it prints a line; then
for each line with a number on its input it does the work so many times and prints a JSON object:
``seconds``, and ``peak_mib``, the most memory that the process has had resident so far.
"""

import json
import re
import sys
import time
from pathlib import Path

from workloads import Case, Work


def make_work(side: str, case: Case, *rows: str) -> Work:
    """The work of a side, ``mmjax`` or one of ``torch_side``."""
    if side == "mmjax":
        import mmjax_side

        from mmjax.storage.compile_cache import enable_compilation_cache

        if case.work == "first":  # as the command does
            enable_compilation_cache()
        return mmjax_side.make_work(case)
    import torch_side

    return torch_side.make_work(case, side, *map(Path, rows))


def main() -> None:
    side, case, *rows = sys.argv[1:]
    work = make_work(side, Case(**json.loads(case)), *rows)
    work(1)
    _say(0.0)
    for line in sys.stdin:
        start = time.perf_counter()
        work(int(line))
        _say(time.perf_counter() - start)


def _say(seconds: float) -> None:
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}), flush=True)


def peak_mib() -> int | None:
    """The most memory that this process has had resident, where the system tells.

    Not ``ru_maxrss``: that begins with what the process had that started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return round(int(found[1]) / 1024) if found else None


if __name__ == "__main__":
    main()
