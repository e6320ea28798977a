"""Whole ingests under pytest-benchmark: `pytest benches/bench_end_to_end.py --scale 1`.

It compares inhaul with itself, from one commit to the next (`--benchmark-autosave`, `--benchmark-compare`).
`bench_ingest.py` compares inhaul with baselines.
"""

import asyncio
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import inhaul
from corpus import make


@pytest.fixture(scope="session")
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 4 KiB."""
    return make(tmp_path_factory.mktemp("corpora"), "small", request.config.getoption("--scale"))


async def _ingest(folder: Path, storage: Path, work: Path) -> inhaul.IngestReport:
    async with inhaul.connect(storage=storage, db=f"sqlite:///{work}/registry.db"):
        return await inhaul.ingest(folder)


@pytest.mark.parametrize("where", ["in place", "copied", "unchanged"])
def bench_ingest(benchmark: BenchmarkFixture, corpus: Path, tmp_path: Path, where: str) -> None:
    """Ingests a folder that is new, in the storage or outside of it, or that is already registered."""
    rounds = iter(range(100))

    def fresh() -> tuple[tuple[Path, Path, Path], dict[str, object]]:
        work = tmp_path / str(next(rounds))
        work.mkdir()
        storage = work / "storage" if where == "copied" else corpus.parent
        if where == "unchanged":
            asyncio.run(_ingest(corpus, storage, work))
        return (corpus, storage, work), {}

    report = benchmark.pedantic(
        lambda *paths: asyncio.run(_ingest(*paths)), setup=fresh, rounds=3, warmup_rounds=1, iterations=1
    )
    assert report.failed == []
    assert report.counts["unchanged" if where == "unchanged" else "new"] == report.files
