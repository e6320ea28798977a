"""What a type checker knows of the blocking API."""

import inspect
import subprocess
import sys
from pathlib import Path

import inhaul.sync as ih
from inhaul._blocking import twins

PROJECT = Path(__file__).parents[2]  # whose settings say where the stub is
ASYNC = ("Coroutine", "Awaitable", "AsyncGenerator", "AsyncIterator", "AsyncIterable")


def test_mypy_sees_no_coroutine_in_the_blocking_api(tmp_path: Path) -> None:
    names = [f"inhaul.sync.{name}" for name in ih.__all__]
    stub = {
        twin.__name__: twin.__name__ if twin.__name__ in ih.__all__ else f"_{twin.__name__}" for twin in twins.values()
    }
    names += [
        f"inhaul.sync.{stub[twin.__name__]}.{member}"
        for twin in twins.values()
        for member, value in inspect.getmembers(twin)
        if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
    ]
    script = tmp_path / "shown.py"
    script.write_text("import inhaul.sync\n" + "".join(f"reveal_type({name})\n" for name in names))
    # In the folder of the project, mypy finds the cache that `make types` has left.
    command = [sys.executable, "-m", "mypy", str(script)]
    mypy = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    revealed = [line for line in mypy.stdout.splitlines() if "Revealed type" in line]
    assert (len(revealed), mypy.returncode) == (len(names), 0), mypy.stdout
    # An async iterable of paths is fine here, too: the call itself runs it.
    shown = dict(zip(names, revealed, strict=True))
    assert shown.pop("inhaul.sync.ingest").endswith('-> inhaul.ingestion.report.IngestReport"')
    assert [line for line in shown.values() if any(name in line for name in ASYNC)] == []


def test_help_of_the_blocking_api_gives_no_async_advice() -> None:
    shown = [getattr(ih, name) for name in ih.__all__]
    shown += [value for twin in twins.values() for _, value in inspect.getmembers(twin)]
    texts = {inspect.getdoc(one) or "" for one in shown}
    assert [text for text in texts if "await" in text or "async with" in text or "async for" in text] == []
