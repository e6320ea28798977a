"""What the benches time, each in a process of its own: `python benches/jobs.py JOB FOLDER WORK` prints JSON.

FOLDER is a corpus, WORK a fresh folder for everything the job writes. Times are in seconds, memory in bytes.
Loading the library is not part of a job's time: the bench `imports` measures it.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import inhaul

TICK = 0.001

Figures = dict[str, float | list[float]]


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


async def _save(folder: Path, work: Path, storage: Path) -> Figures:
    """Registers every file through `from_dir` and `save`."""
    async with inhaul.connect(storage=storage, db=f"sqlite:///{work}/registry.db") as instance:
        await instance.open()
        artifacts = inhaul.Artifact.from_dir(folder)
        idle = _memory("VmRSS")
        start = time.perf_counter()
        await artifacts.save()
        seconds = time.perf_counter() - start
        memory = _memory("VmHWM") - idle
        if artifacts.failed or artifacts.skipped:
            raise RuntimeError(f"{artifacts!r} is not the whole corpus")
        return {"files": len(artifacts), "seconds": seconds, "memory": memory}


async def in_place(folder: Path, work: Path) -> Figures:
    """The files are inside the storage already."""
    return await _save(folder, work, storage=folder.parent)


async def copy(folder: Path, work: Path) -> Figures:
    """The files are copied into a storage."""
    return await _save(folder, work, storage=work / "storage")


async def ingest(folder: Path, work: Path) -> Figures:
    """The files are inside the storage already, and only a report is wanted."""
    return await _ingest(folder, work, storage=folder.parent)


async def take(folder: Path, work: Path) -> Figures:
    """The files are copied into a storage, and only a report is wanted."""
    return await _ingest(folder, work, storage=work / "storage")


async def take_without_memo(folder: Path, work: Path) -> Figures:
    """The same as `take`, and nothing is remembered."""
    return await _ingest(folder, work, storage=work / "storage", memo=False)


async def _ingest(folder: Path, work: Path, storage: Path, *, memo: bool | None = None) -> Figures:
    async with inhaul.connect(storage=storage, db=f"sqlite:///{work}/registry.db") as instance:
        await instance.open()
        call = inhaul.ingest  # loads what it needs
        start = time.perf_counter()
        report = await call(folder, memo=memo)
        seconds = time.perf_counter() - start
        if report.failed or report.skipped:
            raise RuntimeError(f"{report!r} is not of the whole corpus")
        return {"files": report.files, "seconds": seconds}


async def lag(folder: Path, work: Path) -> Figures:
    """How late a timer of 1 ms fires on the loop that ingests."""
    lags: list[float] = []

    async def tick() -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + TICK
            await asyncio.sleep(TICK)
            lags.append(clock() - due)

    async with inhaul.connect(storage=work / "storage", db=f"sqlite:///{work}/registry.db") as instance:
        await instance.open()
        async with asyncio.TaskGroup() as tasks:
            ticker = tasks.create_task(tick())
            report = await inhaul.ingest(folder, on_event=lambda event: None)
            ticker.cancel()
        return {"files": report.files, "seconds": report.seconds, "lags": lags}


JOBS: dict[str, Callable[[Path, Path], Awaitable[Figures]]] = {
    "in-place": in_place,
    "copy": copy,
    "ingest": ingest,
    "take": take,
    "take-without-memo": take_without_memo,
    "lag": lag,
}


async def main(job: str, folder: Path, work: Path) -> None:
    """Runs one job."""
    print(json.dumps(await JOBS[job](folder, work)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
