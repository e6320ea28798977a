"""Runs: tracked, linked with what they make and use, and drawn."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import inhaul
import inhaul.sync as ih
from inhaul import Artifact, Run, Transform
from trees import text_file


async def test_what_is_made_belongs_to_the_current_run(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = await inhaul.track(Transform("nightly", type="pipeline"), params={"depth": 3})
    assert (run.transform.name, run.params, run.finished_at) == ("nightly", {"depth": 3}, None)
    one = await Artifact(text_file(tmp_path, "one.txt")).save()
    two = await Artifact(text_file(tmp_path, "two.txt"), key="two.txt", run=False).save()
    text_file(tmp_path / "folder", "three.txt")
    listed = await Artifact.from_dir(tmp_path / "folder").save()
    await inhaul.ingest(tmp_path / "folder", key="more")
    assert (one.run, two.run, listed[0].run) == (run, None, run)
    assert [artifact.key for artifact in await run.outputs.all()] == [None, "folder/three.txt", "more/three.txt"]


async def test_what_is_used_is_an_input_of_the_current_run(instance: inhaul.Instance, tmp_path: Path) -> None:
    before = await Artifact(text_file(tmp_path, "before.txt"), key="before.txt").save()
    unused = await Artifact(text_file(tmp_path, "unused.txt"), key="unused.txt").save()
    run = await inhaul.track(Transform("nightly", type="pipeline"))
    assert await before.load() == "before.txt"
    await before.cache()
    await unused.load(is_run_input=False)
    assert await before.input_of.all() == [run]
    assert await run.inputs.all() == [before]
    assert await Artifact.filter(input_of__transform__name="nightly").all() == [before]


async def test_what_a_run_makes_is_not_its_input(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = await inhaul.track(Transform("nightly", type="pipeline"))
    one = await Artifact(text_file(tmp_path, "one.txt")).save()
    await one.load()
    await one.cache(is_run_input=True)
    assert await run.inputs.all() == [], "a run makes what it makes of others"


async def test_a_run_that_meets_an_artifact_again_is_its_previous_run(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    before = await Artifact(text_file(tmp_path, "before.txt"), key="before.txt").save()
    run = await inhaul.track(Transform("nightly", type="pipeline"))
    await Artifact(text_file(tmp_path, "before.txt"), key="before.txt").save()
    assert await before.previous_runs.all() == [run]
    assert (await Artifact.get(before.uid)).run is None


async def test_after_its_end_a_run_makes_and_uses_nothing(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = await inhaul.track(Transform("nightly", type="pipeline"))
    await inhaul.finish()
    assert (await Run.get(run.uid)).finished_at >= run.started_at
    one = await Artifact(text_file(tmp_path, "one.txt"), key="one.txt").save()
    assert one.run is None
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


async def all_of_it(folder: Path) -> list[Artifact]:
    """Saves artifacts alone and as a list, in the current run."""
    made = [await Artifact(text_file(folder, f"{name}.txt"), key=f"{name}.txt").save() for name in ("one", "two")]
    text_file(folder / "folder", "three.txt")
    return [*made, *await Artifact.from_dir(folder / "folder").save()]


async def test_what_a_run_met_again_is_no_more_its_input(instance: inhaul.Instance, tmp_path: Path) -> None:
    before = await all_of_it(tmp_path)
    run = await inhaul.track(Transform("again"))
    for artifact in before:
        await artifact.load()
    assert len(await run.inputs.all()) == 3
    again = await all_of_it(tmp_path)
    assert again == before
    assert await run.inputs.all() == [], "it made them again after it had used them"
    graph = await again[0].view_lineage()
    assert graph.edges == {(f"r{run.id}", f"a{again[0].id}")}


async def test_what_a_run_met_again_never_becomes_its_input(instance: inhaul.Instance, tmp_path: Path) -> None:
    before = await all_of_it(tmp_path)
    run = await inhaul.track(Transform("again"))
    again = await all_of_it(tmp_path)
    for artifact in [*before, *again, *[await Artifact.get(one.uid) for one in before]]:
        await artifact.load()
        await artifact.load(is_run_input=True)
        await artifact.load(is_run_input=await Run.get(run.uid))
    assert await run.inputs.all() == []


async def test_what_a_run_met_again_is_an_input_of_a_later_one(instance: inhaul.Instance, tmp_path: Path) -> None:
    await all_of_it(tmp_path)
    await inhaul.track(Transform("again"))
    again = await all_of_it(tmp_path)
    later = await inhaul.track(Transform("later"))
    for artifact in again:
        await artifact.load()
    assert len(await later.inputs.all()) == 3


@pytest.mark.parametrize("virtual", [True, False])
async def test_new_content_is_of_the_active_run_and_no_input_of_it(
    instance: inhaul.Instance, tmp_path: Path, virtual: bool
) -> None:
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


@pytest.mark.parametrize("virtual", [True, False])
async def test_new_content_is_of_the_run_that_is_given(
    instance: inhaul.Instance, tmp_path: Path, virtual: bool
) -> None:
    first, given = await Run(Transform("first")).save(), await Run(Transform("given")).save()
    active = await inhaul.track(Transform("active"))
    artifact = await Artifact(text_file(tmp_path, "a.txt"), key="a.txt", key_is_virtual=virtual, run=first).save()
    await artifact.replace(text_file(tmp_path, "b.txt"))
    await artifact.replace(text_file(tmp_path, "c.txt"), run=given)
    assert artifact.run == (await Artifact.get(artifact.uid)).run == given
    assert await artifact.previous_runs.all() == [first, active]
    await artifact.replace(text_file(tmp_path, "d.txt"), run=first)
    assert await artifact.previous_runs.all() == [given, active]


@pytest.mark.parametrize("virtual", [True, False])
async def test_new_content_without_a_run_leaves_the_artifact_its_run(
    instance: inhaul.Instance, tmp_path: Path, virtual: bool
) -> None:
    first = await inhaul.track(Transform("first"))
    artifact = await Artifact(text_file(tmp_path, "a.txt"), key="a.txt", key_is_virtual=virtual).save()
    await inhaul.track(Transform("second"))
    await artifact.replace(text_file(tmp_path, "b.txt"), run=False)
    assert artifact.run == (await Artifact.get(artifact.uid)).run == first
    await inhaul.finish()
    await artifact.replace(text_file(tmp_path, "c.txt"))
    assert (await Artifact.get(artifact.uid)).run == first
    assert await artifact.previous_runs.all() == []


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
