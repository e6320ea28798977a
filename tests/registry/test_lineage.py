"""Runs: tracked, linked with what they make and use, and drawn."""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import date
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import inhaul
import inhaul.sync as ih
from inhaul import Artifact, Run, Transform
from inhaul.errors import InvalidText
from trees import text_file


async def test_what_is_made_and_used_belongs_to_the_current_run(instance: inhaul.Instance, tmp_path: Path) -> None:
    before = await Artifact(text_file(tmp_path, "before.txt"), key="before.txt").save()
    run = await inhaul.track(Transform("nightly", type="pipeline"), params={"depth": 3})
    assert (run.transform.name, run.params, run.finished_at) == ("nightly", {"depth": 3}, None)

    one = await Artifact(text_file(tmp_path, "one.txt")).save()
    two = await Artifact(text_file(tmp_path, "two.txt"), key="two.txt", run=False).save()
    (tmp_path / "folder").mkdir()
    text_file(tmp_path / "folder", "three.txt")
    listed = await Artifact.from_dir(tmp_path / "folder").save()
    await inhaul.ingest(tmp_path / "folder", key="more")
    assert (one.run, two.run, listed[0].run) == (run, None, run)
    assert [artifact.key for artifact in await run.outputs.all()] == [None, "folder/three.txt", "more/three.txt"]

    assert await before.load() == "before.txt"
    await before.cache()
    await one.load()
    await two.load(is_run_input=False)
    assert await before.input_of.all() == [run]
    assert await run.inputs.all() == [before]
    assert await Artifact.filter(input_of__transform__name="nightly").all() == [before]
    await one.cache(is_run_input=True)
    assert await run.inputs.all() == [before], "a run makes what it makes of others"

    await Artifact(text_file(tmp_path, "before.txt"), key="before.txt").save()
    assert await before.previous_runs.all() == [run]
    assert (await Artifact.get(before.uid)).run is None

    await inhaul.finish()
    assert (await Run.get(run.uid)).finished_at >= run.started_at
    assert (await Artifact(text_file(tmp_path, "four.txt"), key="four.txt").save()).run is None
    with pytest.raises(ValueError, match=r"start one with track\(\)"):
        await inhaul.finish()
    with pytest.raises(ValueError, match="needs a current run"):
        await one.load(is_run_input=True)


async def test_the_same_transform_is_used_again(instance: inhaul.Instance) -> None:
    first = await inhaul.track(Transform("nightly", type="pipeline"))
    second = await inhaul.track(Transform("nightly", type="pipeline"))
    assert first.transform == second.transform
    assert first != second
    assert await Run.filter(transform__name="nightly").count() == 2


async def test_each_call_of_a_tracked_function_is_a_run(instance: inhaul.Instance, tmp_path: Path) -> None:
    outer = await inhaul.track(Transform("nightly", type="pipeline"))

    for name in ("a.txt", "b.txt"):
        text_file(tmp_path, name)

    @inhaul.tracked
    async def make(name: str, options: object = None) -> Artifact:
        await asyncio.sleep(0)
        return await Artifact(tmp_path / name, key=name).save()

    @inhaul.tracked
    def fail(number: int) -> None:
        raise ZeroDivisionError

    made = await asyncio.gather(make("a.txt"), make("b.txt", options=object()))
    runs = [artifact.run for artifact in made]
    assert runs[0] != runs[1]
    assert runs[0].transform == runs[1].transform
    assert runs[0].transform.type == "function"
    assert runs[0].transform.name.endswith("make")
    assert [run.params for run in runs] == [
        {"name": "a.txt", "options": None},
        {"name": "b.txt", "options": "<object>"},
    ]
    assert [(await Run.get(run.uid)).finished_at is not None for run in runs] == [True, True]
    with pytest.raises(ZeroDivisionError):
        await fail(1)
    failed = await Run.filter(transform__name__endswith="fail").one()
    assert (failed.params, failed.finished_at) == ({"number": 1}, None)
    assert (await Artifact(text_file(tmp_path, "c.txt"), key="c.txt").save()).run == outer


async def test_an_input_belongs_to_the_run_that_is_given(instance: inhaul.Instance, tmp_path: Path) -> None:
    one = await Artifact(text_file(tmp_path, "one.txt"), key="one.txt").save()
    two = await Artifact(text_file(tmp_path, "two.txt"), key="two.txt").save()
    collection = await inhaul.Collection([one, two], "both").save()
    other, new = await Run(Transform("other")).save(), Run(Transform("new"))
    active = await inhaul.track(Transform("active"))
    await one.load(is_run_input=other)
    await two.cache(is_run_input=new)
    await collection.cache(is_run_input=other)
    assert await other.inputs.all() == [one, two]
    assert await new.inputs.all() == [two]
    assert await active.inputs.all() == []
    await two.load(is_run_input=True)
    assert await active.inputs.all() == [two]


async def test_what_no_input_can_belong_to_is_refused_before_anything_is_read(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    one = await Artifact(text_file(tmp_path, "one.txt"), key="one.txt").save()
    one.path.unlink()
    collection = await inhaul.Collection([one], "one").save()
    async with inhaul.connect(tmp_path / "elsewhere"):
        foreign = await Run(Transform("t")).save()
    refused = (
        ("yes", TypeError, "pass a Run"),
        (True, ValueError, "needs a current run"),
        (foreign, ValueError, "belong"),
    )
    for given, error, match in (*refused, (ih.Run(ih.Transform("t")), TypeError, "other API")):
        for verb in (one.load, one.cache, one.backed, collection.load, collection.cache, collection.mapped):
            with pytest.raises(error, match=match):
                await verb(is_run_input=given)  # type: ignore[operator]
    assert await inhaul.Artifact.filter(input_of__isnull=False).count() == 0


async def test_what_a_run_made_or_met_again_is_never_its_input(instance: inhaul.Instance, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    text_file(tmp_path / "folder", "three.txt")

    async def all_of_it() -> list[Artifact]:
        made = [await Artifact(text_file(tmp_path, f"{name}.txt"), key=f"{name}.txt").save() for name in ("one", "two")]
        return [*made, *await Artifact.from_dir(tmp_path / "folder").save()]

    before = await all_of_it()
    run = await inhaul.track(Transform("again"))
    for artifact in before:
        await artifact.load()
    assert len(await run.inputs.all()) == 3
    again = await all_of_it()
    assert again == before
    assert await run.inputs.all() == [], "it made them again after it had used them"
    for artifact in [*before, *again, *[await Artifact.get(one.uid) for one in before]]:
        await artifact.load()
        await artifact.load(is_run_input=True)
        await artifact.load(is_run_input=await Run.get(run.uid))
    assert await run.inputs.all() == []
    graph = await again[0].view_lineage()
    assert graph.edges == {(f"r{run.id}", f"a{again[0].id}")}

    later = await inhaul.track(Transform("later"))
    for artifact in again:
        await artifact.load()
    assert len(await later.inputs.all()) == 3


@pytest.mark.parametrize("virtual", [True, False])
async def test_new_content_is_of_the_active_run(instance: inhaul.Instance, tmp_path: Path, virtual: bool) -> None:
    first = await inhaul.track(Transform("first"))
    artifact = await Artifact(text_file(tmp_path, "a.txt"), key="a.txt", key_is_virtual=virtual).save()
    second = await inhaul.track(Transform("second"))
    await artifact.load()
    assert await second.inputs.all() == [artifact]
    await artifact.replace(text_file(tmp_path, "b.txt"))
    loaded = await Artifact.get(artifact.uid)
    assert artifact.run == loaded.run == second
    assert await artifact.previous_runs.all() == [first]
    await loaded.load()
    assert await second.inputs.all() == [], "it would come of itself"

    given = await Run(Transform("given")).save()
    await artifact.replace(text_file(tmp_path, "c.txt"), run=given)
    await artifact.replace(text_file(tmp_path, "d.txt"), run=False)
    assert artifact.run == (await Artifact.get(artifact.uid)).run == given
    assert await artifact.previous_runs.all() == [first, second]
    await artifact.replace(text_file(tmp_path, "e.txt"), run=first)
    assert await artifact.previous_runs.all() == [second, given]
    await inhaul.finish()
    await artifact.replace(text_file(tmp_path, "f.txt"))
    assert (await Artifact.get(artifact.uid)).run == first


def test_the_blocking_api_replaces_in_the_active_run(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        artifact = ih.Artifact(text_file(tmp_path, "a.txt"), key="a.txt").save()
        run = ih.track(ih.Transform("t"))
        artifact.replace(text_file(tmp_path, "b.txt"))
        assert ih.Artifact.get(artifact.uid).run == run


async def test_an_artifact_that_is_deleted_meanwhile_is_no_input(instance: inhaul.Instance, tmp_path: Path) -> None:
    one = await Artifact(text_file(tmp_path, "one.txt"), key="one.txt").save()
    run = await inhaul.track(Transform("reads"))
    path = await one.cache(is_run_input=False)
    await (await Artifact.get(one.uid)).delete(permanent=True, storage=False)
    path.parent.mkdir(exist_ok=True)
    path.write_text("one.txt")
    assert await one.load() == "one.txt"
    assert await run.inputs.all() == []


def test_the_blocking_api_links_the_run_that_is_given(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        one = ih.Artifact(text_file(tmp_path, "one.txt"), key="one.txt").save()
        other = ih.Run(ih.Transform("other")).save()
        active = ih.track(ih.Transform("active"))
        one.load(is_run_input=other)
        assert (other.inputs.all(), active.inputs.all()) == ([one], [])
        ih.Artifact(text_file(tmp_path, "one.txt"), key="one.txt").save()
        one.load()
        assert active.inputs.all() == []


async def test_defaults_of_a_tracked_function_are_its_params(instance: inhaul.Instance) -> None:
    @inhaul.tracked
    def fit(x: int, depth: int = 3, *more: int, path: Path = Path("out"), empty: str = "", **options: int) -> None:
        pass

    await fit(1)
    await fit(1, 4, 5, path=Path("there"), rate=2)
    with_defaults, given = [run.params for run in await Run.filter().order_by("id").all()]
    assert with_defaults == {"x": 1, "depth": 3, "path": "out", "empty": ""}
    assert given == {"x": 1, "depth": 4, "more": [5], "path": "there", "empty": "", "options": {"rate": 2}}


class Colour(Enum):
    RED = "red"


GIVEN = {
    "input": Path("a/b.csv"),
    "n": np.int64(3),
    "rate": np.float32(0.5),
    "really": np.bool_(True),
    "when": pd.Timestamp("2024-05-01", tz="UTC"),
    "day": date(2024, 5, 1),
    "colour": Colour.RED,
    "run": print,
    "sizes": (1, np.int64(2)),
    "nested": {"path": Path("c")},
    "nothing": None,
    "limits": [float("nan"), np.float64("inf"), float("-inf")],
}
RECORDED = {
    "input": "a/b.csv",
    "n": 3,
    "rate": 0.5,
    "really": True,
    "when": "2024-05-01 00:00:00+00:00",
    "day": "2024-05-01",
    "colour": "Colour.RED",
    "run": "builtins.print",
    "sizes": [1, 2],
    "nested": {"path": "c"},
    "nothing": None,
    "limits": ["nan", "inf", "-inf"],
}


async def test_params_that_are_given_are_recorded_as_those_of_a_tracked_function(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("t"), params=vars(argparse.Namespace(**GIVEN)))
    assert run.params == RECORDED
    assert (await Run.get(run.uid)).params == RECORDED
    await inhaul.tracked(lambda given: None)(GIVEN)
    assert (await Run.filter().order_by("-id").first()).params == {"given": RECORDED}
    run.params["path"], run.params["n"] = Path("x"), np.int64(4)
    await run.save()
    assert (await Run.get(run.uid)).params == run.params == RECORDED | {"path": "x", "n": 4}


def test_keys_of_params_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        for params in ({1: "a"}, {None: "a"}, {"a": [{2.5: "b"}]}):
            with pytest.raises(TypeError, match="is not a text, and would come back as one"):
                ih.track(ih.Transform("t"), params=params)
        circle: dict[str, object] = {}
        circle["self"] = circle
        with pytest.raises(ValueError, match="holds itself"):
            ih.track(ih.Transform("t"), params=circle)
        assert ih.Run.filter().count() == 0
        ih.tracked(lambda given: None)({1: "a"})
        assert ih.Run.filter().one().params == {"given": "{1: 'a'}"}


class _Odd:
    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError


_LOOP: list[object] = []
_LOOP.append(_LOOP)


_RECORDED: list[tuple[object, object]] = [
    (float("nan"), "nan"),
    ([float("inf"), -np.float32("inf"), {"rate": np.float64("nan")}], ["inf", "-inf", {"rate": "nan"}]),
    ({(1, 2): 3}, "{(1, 2): 3}"),
    ("\udcff", r"'\udcff'"),
    (Path("\udcff"), r"PosixPath('\udcff')"),
    (_LOOP, "[[[[[[[...]]]]]]]"),
    ([*range(10_000)], "[0, 1, 2, 3, 4, 5, ...]"),
    ("x" * 100_000, "'xxxxxxxxxxxx...xxxxxxxxxxxxx'"),
    (10**5000, "<int>"),
    ({"a": [1, None, Path("b"), object()]}, {"a": [1, None, "b", "<object>"]}),
]


async def test_any_argument_of_a_tracked_function_is_recorded(instance: inhaul.Instance) -> None:
    @inhaul.tracked
    async def take(given: object) -> Run:
        return await Run.filter().order_by("-id").first()

    for value, recorded in _RECORDED:
        assert (await take(value)).params == {"given": recorded}


async def test_an_argument_that_cannot_be_shown_is_recorded_by_its_type(instance: inhaul.Instance) -> None:
    await inhaul.tracked(lambda odd: None)(_Odd())
    assert (await Run.filter().one()).params["odd"].startswith("<_Odd instance at")
    await inhaul.tracked(lambda odd: None)({"a": [_Odd()]})
    assert (await Run.filter().order_by("-id").first()).params["odd"].startswith("{'a': [<_Odd instance at")


async def test_a_param_that_has_no_form_is_refused_by_name_and_ends_no_run(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("t"), params={"depth": 3})
    for value, error, problem in (
        (_Odd(), TypeError, "reading it raises ZeroDivisionError"),
        ([object()], TypeError, "there is no form for <object"),
        ("\udcff", InvalidText, "half of a surrogate pair"),
        ({"\udcff": 1}, InvalidText, "half of a surrogate pair"),
    ):
        message = rf"params\['odd'\]=.* cannot be JSON: .*{problem}"
        with pytest.raises(error, match=message):
            await inhaul.track(Transform("t"), params={"depth": 4, "odd": value})
        run.params["odd"] = value
        with pytest.raises(error, match=message):
            await inhaul.finish()
        assert instance.run is run
    assert await Run.filter().count() == 1
    del run.params["odd"]
    await inhaul.finish()
    assert (await Run.get(run.uid)).params == {"depth": 3}


async def test_a_function_is_tracked_with_parentheses_too(instance: inhaul.Instance) -> None:
    @inhaul.tracked()
    async def later(number: int) -> int:
        return number

    @inhaul.tracked()
    def now(number: int) -> int:
        return number

    @ih.tracked()
    def blocking(number: int) -> int:
        return number

    assert (await later(1), await now(2), await asyncio.to_thread(blocking, 3)) == (1, 2, 3)
    runs = await Run.filter(transform__type="function").order_by("id").all()
    assert [run.params for run in runs] == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert later.__name__ == "later"


def test_generators_and_unnamed_functions_cannot_be_tracked() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for track in (inhaul.tracked, ih.tracked):
        for function in (numbers, later):
            with pytest.raises(TypeError, match="is a generator"):
                track(function)
        for other in (partial(print, 1), 5):
            with pytest.raises(TypeError, match="not a function with a name"):
                track(other)  # type: ignore[arg-type]


async def test_params_that_are_set_one_by_one_are_saved(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("nightly", type="pipeline"), params={"depth": 3})
    run.params["accuracy"] = 0.9
    await run.save()
    found = await Run.get(run.uid)
    assert found.params == {"depth": 3, "accuracy": 0.9}
    del found.params["depth"]
    await found.save()
    assert (await Run.get(run.uid)).params == {"accuracy": 0.9}
    found.params["what"] = object()
    with pytest.raises(TypeError, match="cannot be JSON"):
        await found.save()
    await inhaul.finish()


def test_params_of_one_api_can_be_changed_by_the_other(tmp_path: Path) -> None:
    async def begin() -> Run:
        return await inhaul.track(Transform("nightly", type="pipeline"), params={"depth": 3})

    with ih.connect(tmp_path / "storage"):
        uid = asyncio.run(begin()).uid
        run = ih.Artifact(text_file(tmp_path, "a.txt"), key="a.txt").save().run
        run.params["accuracy"] = 0.9
        run.save()
        assert ih.Run.get(uid).params == {"depth": 3, "accuracy": 0.9}


def test_both_apis_have_one_current_run(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        run = ih.track(ih.Transform("nightly", type="pipeline"))
        assert type(run) is ih.Run
        ih.Artifact(text_file(tmp_path, "a.txt")).save()

        async def made_elsewhere() -> Artifact:
            return await Artifact(text_file(tmp_path, "b.txt")).save()

        other = asyncio.run(made_elsewhere())
        assert type(other.run) is Run
        assert other.run.uid == run.uid
        assert run.outputs.count() == 2

        @ih.tracked
        def make(name: str) -> ih.Artifact:
            return ih.Artifact(text_file(tmp_path, name)).save()

        assert make("c.txt").run.transform.name.endswith("make")
        assert "flowchart" in str(run.outputs.first().view_lineage())
        with pytest.raises(TypeError, match=r"inhaul\.tracked"):
            ih.tracked(made_elsewhere)
        ih.finish()
        assert ih.Run.get(run.uid).finished_at is not None


SCRIPT = """
import inhaul.sync as ih
ih.track(params={"x": 1})
assert ih.track().transform.type == "script"
ih.finish()
print(ih.Transform.filter().one().name)
"""


def git(*arguments: str | Path) -> None:
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments], check=True, capture_output=True)


RUNS = """
import os, sys
import inhaul.sync as ih
if os.environ["DB"]:
    ih.connect(db=os.environ["DB"])
ih.track()
ih.finish()
"""


def tracked_names(script: Path, cwd: Path, db: str = "") -> list[str]:
    """Runs a script, and returns the names of the transforms in the registry."""
    subprocess.run([sys.executable, script], check=True, cwd=cwd, env=os.environ | {"DB": db})
    with ih.connect(cwd / ".inhaul" / "storage", db=db or f"sqlite:///{cwd}/.inhaul/registry.db"):
        return sorted(transform.name for transform in ih.Transform.filter().all())


def project(folder: Path, *scripts: str) -> list[Path]:
    paths = [folder / script for script in scripts]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RUNS)
    return paths


def test_scripts_of_one_name_in_different_folders_are_different_transforms(tmp_path: Path) -> None:
    one, other, top = project(tmp_path / "project", "a/run.py", "b/run.py", "run.py")
    root = tmp_path / "project"
    assert tracked_names(top, root) == ["run.py"]
    assert tracked_names(one, root) == ["a/run.py", "run.py"]
    assert tracked_names(other, root) == ["a/run.py", "b/run.py", "run.py"]
    shutil.copytree(root, tmp_path / "copy")
    assert tracked_names(tmp_path / "copy" / "a" / "run.py", tmp_path / "copy") == ["a/run.py", "b/run.py", "run.py"]
    (beside,) = project(tmp_path / "project" / "scripts", "run.py")
    (tmp_path / "project" / "data").mkdir()
    db = f"sqlite:///{root}/data/.inhaul/registry.db"
    assert tracked_names(beside, tmp_path, db) == tracked_names(beside, root, db) == ["../scripts/run.py"]
    (elsewhere,) = project(tmp_path / "else" / "where", "run.py")
    assert tracked_names(elsewhere, tmp_path, db) == ["../scripts/run.py", str(elsewhere)]


def test_a_script_in_git_is_one_transform_in_every_clone(tmp_path: Path) -> None:
    root, db = tmp_path / "project", f"sqlite:///{tmp_path}/shared/registry.db"
    script, other = project(root, "a/run.py", "b/run.py")
    git("init", root)
    git("-C", root, "add", ".")
    git("-C", root, "commit", "-m", "x")
    git("clone", root, tmp_path / "clone")
    git("-C", root, "worktree", "add", tmp_path / "linked")
    assert tracked_names(script, tmp_path, db) == ["project/a/run.py"]
    assert tracked_names(script, root, db) == ["project/a/run.py"]
    assert tracked_names(tmp_path / "clone" / "a" / "run.py", tmp_path, db) == ["project/a/run.py"]
    assert tracked_names(other, tmp_path, db) == ["project/a/run.py", "project/b/run.py"]
    # A registry in the work tree belongs to this project only.
    assert tracked_names(script, root) == ["a/run.py"]
    git("-C", root, "remote", "add", "origin", "git@example.org:lab/analysis.git")
    for tree in (root, tmp_path / "linked"):
        name = tracked_names(tree / "a" / "run.py", tmp_path, f"sqlite:///{tmp_path}/other/registry.db")
        assert name == ["analysis/a/run.py"]
    (root / ".git" / "config").write_bytes(b"\xff[")
    assert "project/a/run.py" in tracked_names(script, tmp_path, f"sqlite:///{tmp_path}/third/registry.db")


def test_a_script_is_its_own_transform(tmp_path: Path) -> None:
    script = tmp_path / "analyse.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "analyse.py\n"
    nameless = subprocess.run(
        [sys.executable, "-c", "import inhaul.sync as ih; ih.track()"], capture_output=True, text=True, cwd=tmp_path
    )
    assert "There is no script or notebook to track: pass Transform" in nameless.stderr
