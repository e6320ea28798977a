"""A list of artifacts whose save failed or was cancelled can be saved again: by itself, or by its members.

Each is struck at one await after the other; at a few of them in continuous integration, at all of them with `SOAK`.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import inhaul
from inhaul import Artifact, ArtifactList
from inhaul.errors import InhaulError
from striking import Breaker, Struck, breaker, cancel
from trees import write

FILES = 3
GAP = 1 if "SOAK" in os.environ else 14  # between two awaits that are struck, on average

pytestmark = pytest.mark.usefixtures("no_power_fails")


async def one_by_one(artifacts: ArtifactList[Artifact]) -> None:
    for artifact in artifacts:
        await artifact.save()


SAVES: dict[str, Callable[[ArtifactList[Artifact]], Awaitable[object]]] = {
    "by itself": lambda artifacts: artifacts.save(),
    "by inhaul.save": inhaul.save,
    "as records": lambda artifacts: inhaul.save(list(artifacts)),
    "one by one": one_by_one,
}


def tree(parent: Path, number: int) -> Path:
    """Writes a folder."""
    for name in range(FILES):
        write(parent / f"tree {number}" / f"{name}.txt", f"{number} {name}")
    return parent / f"tree {number}"


async def ready(instance: inhaul.Instance) -> Breaker:
    """Creates the registry, and returns faults for it."""
    await inhaul.ULabel("so that there is a registry").save()
    return await breaker(instance)


async def struck(call: Any, step: int) -> bool:
    """Cancels a call at one of its awaits. Returns whether it came so far."""
    one = Struck(call, step, cancel)
    error = await one.outcome()
    if error is not None and not isinstance(error, asyncio.CancelledError):
        raise error
    return one.is_struck


async def assert_saved(artifacts: ArtifactList[Artifact], folder: Path) -> None:
    """Checks that a list is what the registry has of its folder, and that its artifacts can be used."""
    rows = await Artifact.filter(key__startswith=f"{folder.name}/", is_latest=True).order_by("key").all()
    assert [(one.id, one.uid, one.key) for one in artifacts] == [(row.id, row.uid, row.key) for row in rows]
    assert [row.path.read_text() for row in rows] == [path.read_text() for path in sorted(folder.iterdir())]
    await artifacts.save()
    assert (await artifacts.verify()).ok
    assert "saved" in repr(artifacts)


@pytest.mark.parametrize("way", [*SAVES])
async def test_a_staged_list_can_be_saved_again_wherever_its_save_was_cancelled(
    instance: inhaul.Instance, tmp_path: Path, way: str
) -> None:
    await saved_again_wherever_cancelled(tmp_path, SAVES[way], stage=True)


async def test_a_list_can_be_saved_again_wherever_its_save_was_cancelled(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    """The list was not staged before, so its members are unknown until it is saved."""
    await saved_again_wherever_cancelled(tmp_path, SAVES["by itself"], stage=False)


async def saved_again_wherever_cancelled(
    tmp_path: Path, save: Callable[[ArtifactList[Artifact]], Awaitable[object]], *, stage: bool
) -> None:
    rng, is_struck, step = random.Random(f"{tmp_path.name}"), True, 0
    while is_struck:
        step += rng.randint(1, 2 * GAP - 1)
        folder = tree(tmp_path, step)
        await Artifact(write(tmp_path / "old.txt", f"{step} old"), key=f"{folder.name}/0.txt").save()
        artifacts = Artifact.from_dir(folder)
        if stage:
            await artifacts
        is_struck = await struck(artifacts.save(), step)
        await save(artifacts)
        await assert_saved(artifacts, folder)
    assert step > 20


@pytest.mark.parametrize("way", [*SAVES])
async def test_a_staged_list_can_be_saved_again_whichever_statement_failed(
    instance: inhaul.Instance, tmp_path: Path, way: str
) -> None:
    broken = await ready(instance)
    for number in range(1, 1000, 1 if GAP == 1 else 3):
        folder = tree(tmp_path, number)
        artifacts = await Artifact.from_dir(folder)
        broken.break_statement(number)
        with suppress(InhaulError):
            await artifacts.save()
        if not broken.is_struck:
            break
        await SAVES[way](artifacts)
        await assert_saved(artifacts, folder)
    broken.break_statement(0)
    assert number > 3


@pytest.mark.parametrize("way", [*SAVES])
async def test_a_list_staged_after_a_call_was_killed_can_be_saved(
    instance: inhaul.Instance, tmp_path: Path, way: str
) -> None:
    """The call had stored objects under the names that the list will use, one of them only in part."""
    broken = await ready(instance)
    folder = tree(tmp_path, 1)
    killed = await Artifact.from_dir(folder)
    broken.fail_commit(3, "refused")
    with suppress(InhaulError):
        await killed.save()
    assert broken.is_struck
    objects = [Path(instance.root, str(artifact.object_key)) for artifact in killed]
    write(objects[1], "")
    artifacts = await Artifact.from_dir(folder)
    assert [Path(instance.root, str(artifact.object_key)) for artifact in artifacts] == objects
    await SAVES[way](artifacts)
    await assert_saved(artifacts, folder)


async def test_a_list_without_duplicates_has_none_when_it_is_saved_again(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    folder = tree(tmp_path, 1)
    write(folder / "equal.txt", (folder / "0.txt").read_text())
    artifacts = await Artifact.from_dir(folder, duplicates="drop")
    broken = await ready(instance)
    broken.fail_commit(3, "refused")
    with suppress(InhaulError):
        await artifacts.save()
    assert broken.is_struck
    await artifacts[1].save()
    await artifacts.save()
    assert [one.key for one in artifacts] == [f"{folder.name}/{number}.txt" for number in range(FILES)]
    assert await Artifact.filter().count() == FILES
