"""Times ingests of folders that were ingested before: `python benches/bench_again.py [BENCH ...]`.

The baseline is `find`, which also looks at each file once. An ingest of a folder with changed files is compared with
one of the unchanged folder and one of the changed files alone.
"""

import json
import os
import subprocess
import time
from pathlib import Path

from harness import HERE, Bench, Figures, main, ratio, run

TICK = 2.1  # seconds after which the memo trusts the times of a file
CHANGED = 100  # one in so many files


def job(name: str, folder: Path, work: Path) -> Figures:
    """Runs one of `jobs.py`, with a memo of its own."""
    return json.loads(run(HERE / "jobs.py", name, folder, work, INHAUL_CACHE_DIR=str(work / "cache")))


def find(folder: Path) -> Figures:
    """Runs `find`, which prints what the memo compares."""
    start = time.perf_counter()
    subprocess.run(["find", folder, "-printf", "%p %s %T@ %C@ %i\n"], check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - start}


def known(bench: Bench, name: str) -> tuple[Path, Path]:
    """Returns a copy of the small corpus that is registered and remembered, and the folder with its registry."""
    work = bench.work()
    (work / "data").mkdir()
    folder = work / "data" / "small"
    subprocess.run(["cp", "-r", bench.corpus("small"), folder], check=True)
    settle(name, folder, work)
    return folder, work


def settle(name: str, folder: Path, work: Path) -> None:
    """Ingests a folder, and again when the memo trusts the times of its files."""
    time.sleep(TICK)
    job(name, folder, work)
    job(name, folder, work)


def unchanged(bench: Bench) -> None:
    """Nothing changed."""
    for title, name in (("in place", "ingest"), ("copied", "take")):
        folder, work = known(bench, name)
        seen = bench.in_turn(
            f"unchanged, {title}",
            find=lambda folder=folder: find(folder),
            ingest=lambda name=name, folder=folder, work=work: job(name, folder, work),
        )
        ratio("ingest / find", seen["ingest"]["seconds"] / seen["find"]["seconds"], "2.0")


def listed(bench: Bench) -> None:
    """Nothing changed, and a list of all artifacts is wanted."""
    folder, work = known(bench, "in-place")
    seen = bench.in_turn(
        "unchanged, from_dir and save", find=lambda: find(folder), from_dir=lambda: job("in-place", folder, work)
    )
    ratio("from_dir / find", seen["from_dir"]["seconds"] / seen["find"]["seconds"], "2.5")


def changed(bench: Bench) -> None:
    """One percent of the files changed."""
    folder, work = known(bench, "ingest")
    some = sorted(path for path in folder.rglob("*") if path.is_file())[::CHANGED]
    contents = {path: path.read_bytes() for path in some}

    def change() -> Figures:
        for path, content in contents.items():
            path.write_bytes(os.urandom(16) + content[16:])
        seen = job("ingest", folder, work)
        settle("ingest", folder, work)
        return seen

    def alone() -> Figures:
        own = bench.work()
        for number, content in enumerate(contents.values()):
            path = own / "data" / "some" / f"{number}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return job("ingest", path.parent, own)

    seen = bench.in_turn(
        f"{len(some):,} files changed", unchanged=lambda: job("ingest", folder, work), changed=change, alone=alone
    )
    more = seen["changed"]["seconds"] - seen["unchanged"]["seconds"]
    ratio("(changed - unchanged) / alone", more / seen["alone"]["seconds"], "1.3")


def first(bench: Bench) -> None:
    """The first ingest, with the memo written and without."""
    folder = bench.corpus("small")

    def ingest(name: str) -> Figures:
        work = bench.work()
        return json.loads(run(HERE / "jobs.py", name, folder, work, INHAUL_CACHE_DIR=str(work / "cache")))

    seen = bench.in_turn(
        "first ingest, copied", with_memo=lambda: ingest("take"), without=lambda: ingest("take-without-memo")
    )
    ratio("with / without memo", seen["with_memo"]["seconds"] / seen["without"]["seconds"], "1.03")


if __name__ == "__main__":
    main(__doc__, {"unchanged": unchanged, "listed": listed, "changed": changed, "first": first})
