"""A process ends within two seconds of its last line, however it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import COMMAND

_SECONDS = 2.0

_ASYNC_NOT_CLOSED = """
import asyncio, sys, inhaul

async def main():
    inhaul.connect("root")
    await inhaul.ingest("data")
    print(await inhaul.Artifact.objects.count())

asyncio.run(main())
"""

_ASYNC_ITERATION_LEFT = """
import asyncio, inhaul

async def main():
    inhaul.connect("root")
    await inhaul.ingest("data")
    rows = aiter(inhaul.Artifact.objects)
    await anext(rows)
    print(await inhaul.Artifact.objects.count())
    globals()["kept"] = rows

asyncio.run(main())
"""

_SYNC_NOT_CLOSED = """
import inhaul.sync as ih

ih.connect("root")
ih.ingest("data")
print(ih.Artifact.objects.count())
"""

_SYNC_ITERATION_LEFT = """
import inhaul.sync as ih

ih.connect("root")
ih.ingest("data")
rows = iter(ih.Artifact.objects)
next(rows)
print(ih.Artifact.objects.count())
"""

_SYNC_IN_A_DAEMON = """
import threading, time
import inhaul.sync as ih

ih.connect("root")
begun = threading.Event()
threading.Thread(target=ih.ingest, args=("data",), kwargs={"on_event": lambda event: begun.set()}, daemon=True).start()
begun.wait()
print(2000)
"""

_ASYNC_ERROR = """
import asyncio, inhaul

def refuse(event):
    print("last line", flush=True)
    raise RuntimeError("mid-write")

async def main():
    inhaul.connect("root")
    await inhaul.ingest("data", on_event=refuse)

asyncio.run(main())
"""

_ASYNC_ERROR_BESIDE = """
import asyncio, inhaul

async def main():
    inhaul.connect("root")
    begun = asyncio.Event()
    task = asyncio.create_task(inhaul.ingest("data", on_event=lambda event: begun.set()))
    await begun.wait()
    print("last line", flush=True)
    raise RuntimeError("mid-write")

asyncio.run(main())
"""

_SYNC_ERROR = """
import inhaul.sync as ih

def refuse(event):
    print("last line", flush=True)
    raise RuntimeError("mid-write")

ih.connect("root")
ih.ingest("data", on_event=refuse)
"""

_ASYNC_LONG = (
    """
import asyncio, inhaul

async def main():
    inhaul.connect("root")
    while True:
        await inhaul.ingest("data", on_event=lambda event: print("at work", flush=True))
        await asyncio.to_thread(change)
"""
    "{change}\nasyncio.run(main())\n"
)

_SYNC_LONG = """
import inhaul.sync as ih
{change}
ih.connect("root")
while True:
    ih.ingest("data", on_event=lambda event: print("at work", flush=True))
    change()
"""

_STAGED_IN_MEMORY = """
import shutil, time
import pandas as pd
import inhaul.sync as ih

remove = shutil.rmtree

def remove_slowly(*args, **options):
    time.sleep(0.2)
    remove(*args, **options)

shutil.rmtree = remove_slowly
ih.connect("root")
artifact = ih.Artifact.from_df(pd.DataFrame({{"a": [1]}}), key="a.parquet")
assert artifact.size
{end}
"""

_CHANGE = """
from pathlib import Path

def change():
    for number in range(500):
        path = Path("data", f"{number}.txt")
        path.write_text(path.read_text() + "more")
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(2000):
        (tmp_path / "data" / f"{number}.txt").write_text(str(number))


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def leave(process: subprocess.Popen[str]) -> str:
    """Checks that a process ends in time, and returns what it writes to its standard error."""
    since = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - since <= _SECONDS
    return errors


@pytest.mark.parametrize(
    "script",
    [_ASYNC_NOT_CLOSED, _SYNC_NOT_CLOSED, _SYNC_ITERATION_LEFT],
    ids=["async", "sync", "sync, in an iteration"],
)
def test_a_process_that_closes_nothing_ends_soon(script: str) -> None:
    with start(script) as process:
        assert process.stdout
        assert process.stdout.readline() == "2000\n"
        assert leave(process) == ""
    assert process.returncode == 0


def test_a_process_ends_soon_in_the_middle_of_an_async_iteration() -> None:
    with start(_ASYNC_ITERATION_LEFT) as process:
        assert process.stdout
        assert process.stdout.readline() == "2000\n"
        leave(process)
    assert process.returncode == 0


def test_a_process_ends_soon_while_a_daemon_thread_ingests() -> None:
    with start(_SYNC_IN_A_DAEMON) as process:
        assert process.stdout
        assert process.stdout.readline() == "2000\n"
        leave(process)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "script",
    [_ASYNC_ERROR, _ASYNC_ERROR_BESIDE, _SYNC_ERROR],
    ids=["async", "async, in another task", "sync"],
)
def test_a_process_ends_soon_after_an_error_in_the_middle_of_a_write(script: str) -> None:
    with start(script) as process:
        assert process.stdout
        assert process.stdout.readline() == "last line\n"
        assert leave(process).endswith("RuntimeError: mid-write\n")
    assert process.returncode == 1


@pytest.mark.parametrize("script", [_ASYNC_LONG, _SYNC_LONG], ids=["async", "sync"])
@pytest.mark.parametrize("wait", [0.0, 0.05, 0.3])
def test_a_process_ends_soon_after_a_ctrl_c(script: str, wait: float) -> None:
    with start(script.format(change=_CHANGE)) as process:
        assert process.stdout
        assert process.stdout.readline() == "at work\n"
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        assert leave(process).endswith("KeyboardInterrupt\n")
    assert process.returncode == -signal.SIGINT


def test_a_command_ends_soon_after_a_ctrl_c(tmp_path: Path) -> None:
    for number in range(100):
        with (tmp_path / "data" / f"{number}.big").open("wb") as file:
            file.truncate(1 << 30)
    command = [COMMAND, "ingest", "data", "--storage", "data"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not any(_leads_to(descriptor, ".big") for descriptor in Path(f"/proc/{process.pid}/fd").iterdir()):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in leave(process)
    assert process.returncode == 130


def _leads_to(descriptor: Path, suffix: str) -> bool:
    try:
        return str(descriptor.readlink()).endswith(suffix)
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", ["", "raise KeyboardInterrupt"], ids=["at its end", "interrupted"])
def test_a_process_that_holds_a_staged_object_in_memory_leaves_no_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    temporaries = tmp_path / "temporaries"
    temporaries.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporaries))
    with start(_STAGED_IN_MEMORY.format(end=end)) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGINT if end else 0), errors
    assert list(temporaries.iterdir()) == []


_AFTER_THE_END = """
import atexit, sys, threading
from concurrent.futures import ThreadPoolExecutor
import inhaul.sync as ih
from inhaul.errors import WrongThread

ih.connect("root")
ih.save([])
started = threading.Event()

def work():
    try:
        while True:
            ih.ULabel(str(ih.ULabel.objects.count())).save()
            started.set()
    except WrongThread as error:
        print(error)

if sys.argv[1] == "a thread":
    threading.Thread(target=work).start()
elif sys.argv[1] == "a pool":
    ThreadPoolExecutor(1).submit(work)
else:
    started.set()
    atexit.register(work)
started.wait()
"""


@pytest.mark.parametrize("where", ["a thread", "a pool", "atexit"])
def test_a_blocking_call_after_the_main_thread_says_what_to_do(where: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AFTER_THE_END, where], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The main thread has ended")
    assert "join()" in done.stdout
