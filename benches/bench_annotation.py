"""Times annotating many artifacts against plain sqlite3 and prints ratios: `python benches/bench_annotation.py`.

Each of 10,000 artifacts gets 5 labels and 5 values. Each feature has at most 100 different values.
"""

import json
from pathlib import Path

from harness import HERE, Bench, Figures, main, ratio, run


def job(name: str, artifacts: Path, work: Path) -> Figures:
    """Runs one of `annotation_jobs.py`."""
    return json.loads(run(HERE / "annotation_jobs.py", name, artifacts, work))


def many(bench: Bench) -> None:
    """Annotates all artifacts in one call, then looks for a value."""
    folder = bench.corpus("objects")
    seen = bench.in_turn(
        "artifacts with 5 labels and 5 values each",
        inhaul=lambda: job("inhaul", folder, bench.work()),
        sqlite3=lambda: job("plain", folder, bench.work()),
    )
    ratio("annotate / plain inserts", seen["inhaul"]["seconds"] / seen["sqlite3"]["seconds"], "for comparison")
    ratio("round trips for 1,000 artifacts", seen["inhaul"]["trips"], "<= 20")
    ratio("ms for a query by value", 1000 * seen["inhaul"]["query"], "< 50")


if __name__ == "__main__":
    main(__doc__, {"many": many})
