"""The blocking API: the same results, in any thread except its own, and Ctrl-C."""

import asyncio
import inspect
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import children
import inhaul
import inhaul.sync as ih
from inhaul import _blocking
from inhaul.errors import NotStaged, WrongThread, WrongWorld
from inhaul.instance.handle import stack

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for number in range(5):
        (folder / "sub" / f"{number}.txt").write_text(str(number))
    return folder


def test_the_blocking_api_has_the_names_of_the_async_one() -> None:
    assert set(ih.__all__) == set(inhaul.__all__)
    assert all(hasattr(ih, name) for name in ih.__all__)


def test_no_public_function_is_a_coroutine_function() -> None:
    classes = [value for name in ih.__all__ if inspect.isclass(value := getattr(ih, name))]
    classes += ih._world.classes.values()  # type: ignore[attr-defined]
    functions = [(cls, *member) for cls in classes for member in inspect.getmembers(cls, inspect.iscoroutinefunction)]
    assert [(cls, name) for cls, name, _ in functions if not name.startswith("_")] == []
    assert not any(hasattr(cls, name) for cls in classes for name in ("__await__", "__aiter__"))


def test_query_sets_are_tables_in_notebooks(blocking_instance: ih.Instance, folder: Path) -> None:
    ih.ingest(folder)
    shown = ih.Artifact.filter(key__endswith="1.txt")._repr_html_()  # type: ignore[attr-defined]
    assert "data/sub/1.txt" in shown
    assert "more" not in shown
    for number in range(20):
        (folder / f"{number}.csv").write_text(str(number))
    ih.ingest(folder)
    assert "and 5 more" in ih.Artifact.filter()._repr_html_()  # type: ignore[attr-defined]


FUNCTIONS = [name for name in ih.__all__ if inspect.isfunction(getattr(inhaul, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_signature_of_its_async_twin(name: str) -> None:
    assert inspect.signature(getattr(ih, name)) == inspect.signature(getattr(inhaul, name))


def taken(function: object, **options: bool) -> list[tuple[str, object, object]]:
    """Returns the name, the kind and the default of each parameter."""
    parameters = inspect.signature(function, **options).parameters.values()  # type: ignore[arg-type]
    return [(one.name, one.kind, one.default) for one in parameters]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_what_its_signature_says(name: str) -> None:
    """A signature is copied from the async function, also to one that is written anew."""
    own = taken(getattr(ih, name), follow_wrapped=False)
    if not any(kind is inspect.Parameter.VAR_POSITIONAL for _, kind, _ in own):
        assert own == taken(getattr(inhaul, name))


def public(cls: type) -> dict[str, object]:
    """Returns the members of a class: the signatures of methods, and the types of others, of the blocking API."""
    members = {name: member for name, member in inspect.getmembers(cls) if not name.startswith("_")}
    types = {name: _blocking.twins.get(type(member), type(member)) for name, member in members.items()}
    return types | {name: inspect.signature(member) for name, member in members.items() if callable(member)}


@pytest.mark.parametrize("cls", _blocking.twins, ids=lambda cls: cls.__name__)
def test_a_class_has_the_members_and_signatures_of_its_async_twin(cls: type) -> None:
    twin = _blocking.twins[cls]
    assert inspect.signature(twin) == inspect.signature(cls)
    assert public(twin) == public(cls)


def test_every_class_of_the_async_api_has_a_twin_or_is_in_both() -> None:
    classes = {name: cls for name in ih.__all__ if inspect.isclass(cls := getattr(inhaul, name))}
    assert {name for name, cls in classes.items() if cls not in _blocking.twins and getattr(ih, name) is not cls} == {
        "Instance"  # whose async methods are not public
    }


def test_a_list_is_staged_when_something_is_asked_of_it(blocking_instance: ih.Instance, folder: Path) -> None:
    artifacts = ih.Artifact.from_dir(folder)
    assert [artifact.key for artifact in artifacts] == [f"data/sub/{number}.txt" for number in range(5)]
    assert not (folder.parent / "root").exists()
    assert artifacts.save() is artifacts
    assert artifacts[0].load() == "0"
    assert list(artifacts.df()["size"]) == [1] * 5


def test_an_artifact_is_staged_when_something_is_asked_of_it(blocking_instance: ih.Instance, folder: Path) -> None:
    artifact = ih.Artifact(folder / "sub" / "1.txt", key="one.txt")
    assert artifact.hash == "xMpCOKC5I4INzFCab3WEmw"
    assert artifact.save() is artifact
    assert ih.Artifact(folder / "sub" / "1.txt", key="one.txt") == artifact
    assert ih.Artifact.get(artifact.uid).load() == "1"
    with pytest.raises(NotStaged):
        _ = inhaul.Artifact(folder / "sub" / "1.txt", key="one.txt").hash


def test_what_is_wrong_with_a_path_or_a_key_is_said_at_the_call(
    blocking_instance: ih.Instance, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        ih.Artifact(tmp_path / "missing.txt", key="missing.txt")
    with pytest.raises(FileNotFoundError):
        ih.Artifact.from_dir(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        ih.Artifact.from_dir(folder / "sub" / "1.txt")
    with pytest.raises(ValueError, match="should end in"):
        ih.Artifact(folder / "sub" / "1.txt", key="one.csv")


def test_an_artifact_is_found_to_exist_whatever_is_asked_first(blocking_instance: ih.Instance, folder: Path) -> None:
    path = folder / "sub" / "1.txt"
    known = ih.Artifact(path, key="one.txt", description="said").save()
    questions: list[Callable[[ih.Artifact], object]] = [
        lambda one: one.uid,
        lambda one: one.description,
        lambda one: one.path,
        lambda one: one.visibility,
        lambda one: one.input_of.all(),
        lambda one: one.features.get_values(),
        lambda one: one.versions.count(),
        lambda one: str(one.describe()),
        lambda one: one.load(),
        lambda one: one.verify().findings,
    ]
    for ask in questions:
        assert ask(ih.Artifact(path, key="one.txt")) == ask(known)
    ih.Artifact(path, key="one.txt").delete()
    assert ih.Artifact.filter().count() == 0


OPENS_OF_A_FOLDER = """
import sys, inhaul.sync as ih
with ih.connect(sys.argv[2]):
    assert len(ih.Artifact.from_dir(sys.argv[1]).save()) == 20
"""
OPENS_IN_A_STORAGE = """
import sys, inhaul.sync as ih
from pathlib import Path
with ih.connect(Path(sys.argv[1]).parent):
    for path in Path(sys.argv[1]).iterdir():
        ih.Artifact(path).save()
"""


COPIED = """
import sys, inhaul.sync as ih
from pathlib import Path
with ih.connect(sys.argv[2]):
    for path in Path(sys.argv[1]).iterdir():
        ih.Artifact(path, key=f"copied/{path.name}").save()
"""
COPIED_BY_THE_OTHER_API = """
import asyncio, sys, inhaul
from pathlib import Path
async def main():
    async with inhaul.connect(sys.argv[2]):
        for path in Path(sys.argv[1]).iterdir():
            await inhaul.Artifact(path, key=f"copied/{path.name}").save()
asyncio.run(main())
"""
SCRIPTS = [OPENS_OF_A_FOLDER, OPENS_IN_A_STORAGE, COPIED, COPIED_BY_THE_OTHER_API]


@pytest.mark.parametrize("script", SCRIPTS, ids=["list", "in place", "copied", "copied by the async API"])
def test_each_file_is_opened_once_when_it_is_saved(tmp_path: Path, script: str) -> None:
    folder = tmp_path / "kept" / "files"
    folder.mkdir(parents=True)
    for number in range(20):
        (folder / f"{number}.txt").write_text(str(number))
    time.sleep(0.03)  # until the clock of file times moves on: a file that was just written is opened twice
    log = tmp_path / "log"
    strace = ("strace", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", str(log))
    done = children.run(script, str(folder), str(tmp_path / "root"), wrapper=strace)
    assert done.returncode == 0, done.stderr
    opened = [line for line in log.read_text().splitlines() if ".txt" in line and "O_DIRECTORY" not in line]
    read = [line for line in opened if not re.search("O_WRONLY|O_RDWR|O_PATH|= -1", line)]
    assert len(read) == 20, "\n".join(read)


def test_a_table_round_trips(blocking_instance: ih.Instance) -> None:
    table = pd.DataFrame({"a": [1, 2]})
    pd.testing.assert_frame_equal(ih.Artifact(table, key="table.parquet").save().load(), table)


def test_query_sets_have_for_and_indices(blocking_instance: ih.Instance, folder: Path) -> None:
    ih.ingest(folder)
    found = ih.Artifact.filter(key__startswith="data/").order_by("-key")
    assert [artifact.key for artifact in found] == [artifact.key for artifact in found.all()]
    assert found[1].key == "data/sub/3.txt"
    assert found[3:].count() == 2
    assert found[3:][1].key == "data/sub/0.txt"
    with pytest.raises(IndexError):
        found[5]
    with pytest.raises(ValueError, match="positive"):
        found[-1]


def test_a_loop_may_stop_before_the_end(
    blocking_instance: ih.Instance, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_blocking, "_CHUNK", 2)
    ih.ingest(folder)
    assert len(list(ih.Artifact.objects)) == 5
    for _ in range(10):  # more than the pool has connections, which an open query would hold
        assert next(iter(ih.Artifact.objects)).key == "data/sub/0.txt"
    assert ih.ingest(folder).counts["unchanged"] == 5


def test_iterators_may_make_blocking_calls(blocking_instance: ih.Instance, folder: Path) -> None:
    paths = sorted((folder / "sub").iterdir())
    ih.save(ih.Artifact(path, key=path.name) for path in paths)
    first = ih.Artifact.filter().order_by("key")[:1].one()
    first.labels.add(ih.ULabel(name).save() for name in ("a", "b"))
    assert [label.name for label in ih.ULabel.from_values(label.name for label in first.ulabels.filter())] == ["a", "b"]
    assert ih.Artifact.filter().count() == len(paths)


def test_related_records_are_of_the_blocking_api(blocking_instance: ih.Instance, folder: Path) -> None:
    run = ih.Run(ih.Transform("clean")).save()
    artifact = ih.Artifact(folder / "sub" / "1.txt", key="one.txt", run=run).save()
    other = ih.Run(ih.Transform("again")).save()
    artifact.previous_runs.add(other)
    assert artifact.previous_runs.all() == [other]
    found = ih.Artifact.filter(run__transform__name="clean").one()
    assert type(found) is ih.Artifact
    assert type(found.run) is ih.Run
    assert type(found.created_by) is ih.User
    assert found.versions.count() == 1


def test_each_api_refuses_the_records_of_the_other(blocking_instance: ih.Instance, folder: Path) -> None:
    run = ih.Run(ih.Transform("clean")).save()
    with pytest.raises(WrongWorld):
        inhaul.Artifact(folder / "sub" / "1.txt", key="one.txt", run=run)  # type: ignore[arg-type]
    with pytest.raises(WrongWorld):
        inhaul.Artifact.filter(run=run)
    with pytest.raises(WrongWorld):
        ih.Run(inhaul.Transform("clean"))  # type: ignore[arg-type]
    with pytest.raises(WrongWorld):
        ih.Artifact.from_dir(folder, run=inhaul.Run(inhaul.Transform("clean")))  # type: ignore[arg-type]


async def test_both_apis_see_one_registry(blocking_instance: ih.Instance, folder: Path) -> None:
    ih.ingest(folder)
    assert await inhaul.Artifact.objects.count() == 5


def test_a_plain_connect_is_for_the_whole_process(tmp_path: Path, folder: Path) -> None:
    instance = ih.connect(tmp_path / "plain")
    counts: list[int] = []

    def work() -> None:
        ih.ingest(folder)
        counts.append(ih.Artifact.objects.count())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counts == [5]
    instance.close()


def test_a_block_has_its_own_instance(tmp_path: Path, folder: Path) -> None:
    with ih.connect(tmp_path / "outer"):
        ih.ingest(folder)
        with ih.connect(tmp_path / "inner"):
            assert ih.Artifact.objects.count() == 0
        assert ih.Artifact.objects.count() == 5


def test_calls_run_in_the_context_of_their_caller() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    async def read() -> str:
        return variable.get()

    variable.set("mine")
    assert _blocking.run(read()) == "mine"


async def test_calls_work_where_another_loop_runs(tmp_path: Path, folder: Path) -> None:
    asyncio.get_running_loop()
    with ih.connect(tmp_path / "root"):
        assert ih.ingest(folder).files == 5


def test_errors_reach_the_caller(blocking_instance: ih.Instance, folder: Path) -> None:
    def refuse(event: inhaul.IngestEvent) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        ih.ingest(folder, on_event=refuse)
    assert ih.ingest(folder).files == 5


def test_advice_fits_calls_that_block(blocking_instance: ih.Instance, folder: Path) -> None:
    source = folder / "sub" / "0.txt"
    artifact = ih.Artifact(source, key="a.txt").save()
    artifact.delete()
    with pytest.raises(FileExistsError, match=f"in the trash, as artifact {artifact.uid}: ") as trashed:
        ih.Artifact(source, key="a.txt").save()
    changed = ih.Artifact(source, key="b.txt")
    assert changed.size == 1
    source.write_text("changed")
    with pytest.raises(OSError, match="changed since it was staged") as late:
        changed.save()
    assert changed.size == 7  # it is staged again
    with pytest.raises(ValueError, match="Not registered as features") as unregistered:
        ih.Artifact(source, key="c.txt").save().features.add_values({"n": 1})
    with pytest.raises(TypeError) as several:
        _ = ih.Artifact.filter()["a"]  # type: ignore[index]
    assert not [one for one in (trashed, late, unregistered, several) if "await" in str(one.value)]


def test_calls_on_the_own_loop_are_refused(blocking_instance: ih.Instance, folder: Path) -> None:
    def call_back(event: inhaul.IngestEvent) -> None:
        ih.Artifact.objects.count()

    with pytest.raises(WrongThread, match="call the async API there"):
        ih.ingest(folder, on_event=call_back)


def _count_in_child(answers: "multiprocessing.Queue[str]") -> None:
    try:
        answers.put(str(ih.Artifact.objects.count()))
    except WrongThread as error:
        answers.put(str(error))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_calls_in_a_forked_child_are_refused(blocking_instance: ih.Instance, folder: Path) -> None:
    ih.ingest(folder)
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=_count_in_child, args=(answers,))
    child.start()
    assert "get_context('spawn')" in answers.get(timeout=30)
    child.join(10)
    assert child.exitcode == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_ctrl_c_cancels_and_waits_for_the_clean_up() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("started")
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        _blocking.run(work())
    assert steps == ["started", "cleaned up"]


_BAR = """
import sys
import inhaul.sync as ih
ih.ingest(sys.argv[1])
ih.Artifact.from_dir(sys.argv[1]).save()
"""


def test_a_bar_is_shown_on_a_terminal_only(folder: Path) -> None:
    command = [sys.executable, "-c", _BAR, str(folder)]
    assert b"5/5 [" in children.on_terminal(*command, output="stderr")
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stderr == b""


def test_threads_started_inside_a_block_use_its_instance(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "_defaults", [])  # those of other tests
    with ih.connect(tmp_path / "root"):
        names = ["0.txt", "1.txt"]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: ih.Artifact(folder / "sub" / name, key=name).save(), names))
        assert ih.Artifact.filter().count() == 2


def test_threads_of_their_own_use_what_was_connected_without_a_block(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save() -> str:
        root: str = ih.Artifact(folder / "sub" / "0.txt", key="0.txt").save().storage.root
        return root

    monkeypatch.setattr(stack, "_defaults", [])  # those of other tests
    ih.connect(tmp_path / "main")
    with ih.connect(tmp_path / "other"), ThreadPoolExecutor() as pool:
        assert pool.submit(save).result() == str(tmp_path / "main")
        assert pool.submit(copy_context().run, save).result() == str(tmp_path / "other")
