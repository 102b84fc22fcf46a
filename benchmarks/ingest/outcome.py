"""What each module prints at its end. The standard library alone: it runs in the peers' environments too."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable


def report(work: Callable[[], dict[str, int]]) -> None:
    """Does the work once and prints its seconds, the peak memory of the process in MB and the counts it returns."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, spent = time.perf_counter(), time.process_time()
    counts = work()
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"seconds": seconds, "cpu_seconds": spent, "peak_mb": peak / 1024, "imports_mb": before / 1024}
    print(json.dumps({**figures, **counts}))
