"""A uid that somebody noted down never becomes that of something else."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import inhaul
from inhaul import Artifact
from inhaul.errors import NoResultFound
from inhaul.ingestion.report import IngestEvent
from registries import assert_consistent, query
from trees import write

Save = Callable[[Path], Awaitable[Artifact]]


pytestmark = pytest.mark.usefixtures("no_power_fails")


@pytest.fixture
def unentered(tmp_path: Path, database_url: str) -> inhaul.Instance:
    """An instance that the test enters, and leaves before its end."""
    return inhaul.connect(storage=tmp_path / "storage", db=database_url)


async def alone(path: Path) -> Artifact:
    return await Artifact(path, key="tree/t.txt").save()


async def as_successor(path: Path) -> Artifact:
    latest = await Artifact.filter(key="tree/t.txt", is_latest=True).one()
    return await Artifact(path, is_new_version_of=latest).save()


async def listed(path: Path) -> Artifact:
    artifacts = await Artifact.from_dir(path.parent)
    return (await artifacts.save())[0]


async def ingested(path: Path) -> Artifact:
    assert (await inhaul.ingest(path.parent)).failed == []
    return await Artifact.filter(key="tree/t.txt", is_latest=True).one()


@pytest.mark.parametrize("save", [alone, as_successor, listed, ingested])
async def test_the_next_version_gets_a_new_uid_when_the_latest_is_gone(
    unentered: inhaul.Instance, tmp_path: Path, save: Save
) -> None:
    path = tmp_path / "tree" / "t.txt"
    async with unentered:
        first = await alone(write(path, "1"))
        for number in range(2, 5):
            gone = await save(write(path, str(number)))
            assert gone.stem_uid == first.stem_uid
            await gone.delete(permanent=True)
        last = await save(write(path, "last"))
        assert last.uid == f"{first.stem_uid}0004"
        with pytest.raises(NoResultFound):
            await Artifact.get(gone.uid)


@pytest.mark.parametrize("save", [alone, listed])
async def test_a_version_staged_before_another_came_and_went_gets_another_uid(
    unentered: inhaul.Instance, database_url: str, tmp_path: Path, save: Save
) -> None:
    path = tmp_path / "tree" / "t.txt"
    async with unentered:
        await alone(write(path, "1"))
        write(path, "late")
        late, files = await Artifact(path, key="tree/t.txt"), await Artifact.from_dir(path.parent)
        gone = await alone(write(tmp_path / "other.txt", "2"))
        await gone.delete(permanent=True)
        if save is alone:
            await late.save()
        else:
            await files.save()
            assert [(issue.path, issue.reason) for issue in files.failed] == [(path, "conflict")]
            late = await listed(path)  # as the error says
        assert late.uid > gone.uid
        assert (await late.cache()).read_text() == "late"
    await assert_consistent(database_url, Path(unentered.root))


async def test_a_crashed_session_does_not_bring_back_what_was_deleted(
    unentered: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    for name in "abc":
        write(tree / f"{name}.txt", name)

    def crash(event: IngestEvent) -> None:
        raise RuntimeError

    async with unentered:
        with pytest.raises(RuntimeError):
            await inhaul.ingest(tree, on_event=crash)
        gone = await Artifact.filter(key="tree/b.txt").one()
        await gone.delete(permanent=True)
        assert (await inhaul.ingest(tree)).failed == []
        assert (await Artifact.filter(key="tree/b.txt").one()).stem_uid != gone.stem_uid
        assert await Artifact.filter().count() == 3
    await assert_consistent(database_url, Path(unentered.root))
    assert [row["uid"] for row in await query(database_url, "SELECT uid FROM retired_uid")] == [gone.uid]


async def test_artifacts_of_a_folder_know_the_rows_that_are_theirs(unentered: inhaul.Instance, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number}.txt").write_text(str(number))
    saved = await Artifact.from_dir(folder).save()
    rows = {artifact.id: artifact.uid for artifact in await Artifact.filter().all()}
    assert {artifact.id: artifact.uid for artifact in saved} == rows
