"""Other content under a key that a user chose, in a folder and on S3."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import children
import inhaul
from inhaul import Artifact, Run, Transform
from inhaul.content.files import FileContent
from inhaul.db import leases
from inhaul.errors import (
    DatabaseFailed,
    InvalidKey,
    KeyExists,
    NoResultFound,
    ObjectChanged,
    ObjectMissing,
    ObjectShared,
    StorageUnavailable,
)
from inhaul.ingestion.activity import storing, target_of
from s3_places import Bucket
from striking import breaker
from trees import write

KEY = "in/table.txt"
SUFFIXES = (".txt", ".csv")  # that of the key, and another one, which the key takes


class Place:
    """A storage, looked at without inhaul."""

    def __init__(self, root: str, bucket: Bucket | None) -> None:
        self.root = root
        self._bucket = bucket

    def put(self, key: str, content: str) -> None:
        if self._bucket is None:
            write(Path(self.root, key), content)
        else:
            self._bucket.put(key, content.encode())

    def remove(self, key: str) -> None:
        if self._bucket is None:
            Path(self.root, key).unlink()
        else:
            self._bucket.remove(key)

    def contents(self) -> dict[str, str]:
        """Returns what is stored, by key, without the files of the registry."""
        if self._bucket is not None:
            keys = self._bucket.keys()
            return {key: self._bucket.get(key).decode() for key in keys}
        files = [path for path in Path(self.root).rglob("*") if path.is_file()]
        named = {path.relative_to(self.root).as_posix(): path for path in files}
        own = (".inhaul/registry.db", ".inhaul/registries/", ".inhaul/sessions/", ".inhaul/replacing/")
        return {key: path.read_text() for key, path in named.items() if not key.startswith(own)}


@pytest.fixture
def place(request: pytest.FixtureRequest, root: str) -> Place:
    if root.startswith("s3:"):
        return Place(root, Bucket(request.getfixturevalue("s3_server"), root))
    Path(root).mkdir()
    return Place(root, None)


@pytest.fixture
async def instance_at_place(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[inhaul.Instance]:
    monkeypatch.chdir(tmp_path)
    async with inhaul.connect(storage=place.root, db=f"sqlite:///{tmp_path}/registry.db") as instance:
        yield instance


@pytest.fixture
async def artifact(instance_at_place: inhaul.Instance, tmp_path: Path) -> Artifact:
    return await Artifact(write(tmp_path / "table.txt", "old"), key=KEY, key_is_virtual=False).save()


def notes(instance: inhaul.Instance) -> list[Path]:
    return list((instance.home / "replacing").glob("*"))


async def test_the_key_holds_the_new_content(
    instance_at_place: inhaul.Instance, place: Place, artifact: Artifact, tmp_path: Path
) -> None:
    uid = artifact.uid
    await artifact.replace(write(tmp_path / "new.txt", "newer"))
    assert place.contents() == {KEY: "newer"}
    assert notes(instance_at_place) == []
    for one in (artifact, await Artifact.get(uid)):
        assert (one.uid, one.key, one.object_key, one.key_is_virtual, one.size) == (uid, KEY, KEY, False, 5)
        assert await one.load() == "newer"
    assert (await inhaul.verify(read=True)).ok


async def test_a_replaced_file_of_the_user_keeps_its_permissions(tmp_path: Path) -> None:
    own = write(tmp_path / "storage/a.txt", "mine")
    own.chmod(0o600)
    async with inhaul.connect(tmp_path / "storage"):
        artifact = await Artifact(own).save()
        await artifact.replace(write(tmp_path / "new.txt", "new"))
        assert own.read_text() == "new"
        assert own.stat().st_mode & 0o777 == 0o600
        assert await artifact.load() == "new"


async def test_a_real_key_takes_the_suffix_of_new_content(place: Place, artifact: Artifact) -> None:
    await artifact.replace(pd.DataFrame({"a": [1]}))
    assert (artifact.key, artifact.object_key) == ("in/table.parquet",) * 2
    assert (await (await Artifact.get(artifact.uid)).load())["a"].tolist() == [1]


LONG = "n" * 252  # with .txt, a byte more than file systems take


def source_of(kind: str, folder: Path) -> Any:
    if kind == "frame":
        return pd.DataFrame({"a": [1]})
    return write(folder / "source" / "a.txt", "a") if kind == "file" else write(folder / "tree" / "b.txt", "b").parent


@pytest.mark.parametrize(("kind", "suffix"), [("file", ".txt"), ("frame", ".parquet"), ("folder", "")])
async def test_a_key_that_the_file_system_cannot_have_is_refused(tmp_path: Path, kind: str, suffix: str) -> None:
    """Neither a folder nor a mark is made for it."""
    source, root = source_of(kind, tmp_path), tmp_path / "storage"
    write(root / "file.txt", "mine")
    (root / f"folder{suffix}").mkdir()
    before = {*root.rglob("*")}
    async with inhaul.connect(root, f"sqlite:///{tmp_path / 'registry.db'}"):
        for key, error, problem in (
            (f"a/{LONG}{suffix or '.txt'}", InvalidKey, r"has \d+ bytes, .* of at most 255"),
            (f"{LONG}nnnn/a{suffix}", InvalidKey, "has 256 bytes"),
            (f"{'è' * 128}/a{suffix}", InvalidKey, "has 256 bytes"),
            (f"file.txt/a{suffix}", KeyExists, f"a file at {root / 'file.txt'}, where this key needs a folder"),
            (f"file.txt/a/b{suffix}", KeyExists, f"a file at {root / 'file.txt'}, where this key needs a folder"),
            (f"folder{suffix}", KeyExists, "There is a folder under this key"),
        ):
            if kind == "folder" and key.endswith(".txt"):
                continue
            with pytest.raises(error, match=problem) as caught:
                await Artifact(source, key=key, key_is_virtual=False).save()
            assert key in str(caught.value)
            with pytest.raises(ExceptionGroup) as group:
                await inhaul.save([Artifact(source, key=key, key_is_virtual=False)])
            assert group.group_contains(error, match=problem)
        assert {*root.rglob("*")} == before
        assert await Artifact.objects.count() == 0
        await Artifact(source, key=f"b/{LONG}{suffix}" if kind != "folder" else LONG).save()


async def test_new_content_whose_suffix_makes_the_key_impossible_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    async with inhaul.connect(root):
        artifact = await Artifact(source_of("file", tmp_path), key=f"{LONG[1:]}.txt", key_is_virtual=False).save()
        (root / "b.parquet").mkdir()
        other = await Artifact(write(tmp_path / "b.txt", "b"), key="b.txt", key_is_virtual=False).save()
        before = {*root.rglob("*")}
        for one, error in ((artifact, InvalidKey), (other, KeyExists)):
            with pytest.raises(error, match=r"has 259 bytes|There is a folder under this key"):
                await one.replace(source_of("frame", tmp_path))
        assert {*root.rglob("*")} == before
        assert [await one.load() for one in (artifact, other)] == ["a", "b"]


async def test_a_file_in_the_way_stays(instance_at_place: inhaul.Instance, place: Place, artifact: Artifact) -> None:
    place.put("in/table.parquet", "somebody's")
    with pytest.raises(ObjectChanged, match="Somebody else"):
        await artifact.replace(pd.DataFrame({"a": [1]}))
    assert place.contents() == {KEY: "old", "in/table.parquet": "somebody's"}
    assert (artifact.key, await artifact.load()) == (KEY, "old")
    assert await (await Artifact.get(artifact.uid)).load() == "old"
    assert notes(instance_at_place) == []


async def test_what_was_edited_since_is_not_written_over(place: Place, artifact: Artifact, tmp_path: Path) -> None:
    place.put(KEY, "edited")
    with pytest.raises(ObjectChanged, match="not what was registered"):
        await artifact.replace(write(tmp_path / "new.txt", "new"))
    assert place.contents() == {KEY: "edited"}


async def test_what_is_gone_is_not_replaced(place: Place, artifact: Artifact, tmp_path: Path) -> None:
    place.remove(KEY)
    with pytest.raises(ObjectMissing, match="register it again before it is replaced"):
        await artifact.replace(write(tmp_path / "new.txt", "new"))
    assert place.contents() == {}


async def test_what_lies_in_another_artifact_stays(
    instance_at_place: inhaul.Instance, place: Place, artifact: Artifact, tmp_path: Path
) -> None:
    root, _, server = place.root.partition("?")
    await Artifact(f"{root}/in" + (f"?{server}" if server else "")).save()
    with pytest.raises(ObjectShared):
        await artifact.replace(write(tmp_path / "new.txt", "new"))
    assert place.contents() == {KEY: "old"}


@pytest.mark.parametrize("error", [StorageUnavailable("no"), asyncio.CancelledError()])
async def test_what_fails_leaves_everything_as_it_was(
    instance_at_place: inhaul.Instance,
    place: Place,
    artifact: Artifact,
    tmp_path: Path,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, calls = FileContent.store, 0

    async def second_fails(self: FileContent, *arguments: Any, **options: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return await store(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(FileContent, "store", second_fails)
        with pytest.raises(type(error)):
            await artifact.replace(write(tmp_path / "new.txt", "new"), run=Run(Transform("correct")))
    assert artifact.run is None
    assert place.contents() == {KEY: "old"}
    assert notes(instance_at_place) == []
    assert await (await Artifact.get(artifact.uid)).load() == "old"
    await artifact.replace(tmp_path / "new.txt")
    assert place.contents() == {KEY: "new"}


async def test_a_record_replaces_what_another_record_of_it_stored(
    place: Place, artifact: Artifact, tmp_path: Path
) -> None:
    other = await Artifact.get(artifact.uid)
    await other.replace(write(tmp_path / "new.txt", "new"))
    await artifact.replace(write(tmp_path / "newer.txt", "newer"))
    assert place.contents() == {KEY: "newer"}
    await other.delete(permanent=True)
    with pytest.raises(NoResultFound, match="deleted"):
        await artifact.replace(tmp_path / "new.txt")


async def test_one_of_several_replacements_at_once_stays(
    instance_at_place: inhaul.Instance, place: Place, artifact: Artifact, tmp_path: Path
) -> None:
    copies = [await Artifact.get(artifact.uid) for _ in range(4)]
    contents = [write(tmp_path / f"{number}.txt", str(number)) for number in range(4)]
    done = await asyncio.gather(
        *(copy.replace(content) for copy, content in zip(copies, contents, strict=True)), return_exceptions=True
    )
    assert [one for one in done if not isinstance(one, KeyExists | ObjectChanged | None)] == []
    assert None in done
    assert place.contents() == {KEY: await (await Artifact.get(artifact.uid)).load()}
    assert (await inhaul.verify(read=True)).ok


def killed(script: str, *arguments: str) -> None:
    """Runs a program that kills itself."""
    done = children.run(script, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr


_KILLED = """
import asyncio, os, signal, sys
import inhaul
from inhaul.content.files import FileContent
from inhaul.db import leases
from inhaul.content import real_keys
from inhaul.registry.verbs import replace as replacing
from inhaul.stores.local.store import LocalStore
from inhaul.stores.s3.store import S3Store

label, root, uid, new = sys.argv[1:]
stored = 0

def killed(module, name, at):
    before = getattr(module, name)
    calls = 0
    async def function(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return await before(*arguments, **options)
    setattr(module, name, function)

match label:
    case "noted": killed(FileContent, "store", 1)
    case "stored": killed(replacing, "_switch", 1)
    case "switched": killed(replacing, "settle", 1)
    case "put": killed(real_keys, "switch", 1)
    case "settled":
        killed(LocalStore, "remove", 1)
        killed(S3Store, "remove", 1)

async def main():
    async with inhaul.connect(storage=root, db="sqlite:///registry.db"):
        await (await inhaul.Artifact.get(uid)).replace(new)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("label", "suffix"),
    [
        ("noted", ".txt"),
        ("stored", ".csv"),
        *((label, s) for label in ("switched", "put", "settled") for s in SUFFIXES),
    ],
)
async def test_the_next_process_finishes_or_undoes_a_killed_replacement(
    instance_at_place: inhaul.Instance,
    place: Place,
    artifact: Artifact,
    tmp_path: Path,
    label: str,
    suffix: str,
) -> None:
    new = write(tmp_path / f"new{suffix}", "new")
    killed(_KILLED, label, place.root, artifact.uid, str(new))
    happened = label not in ("noted", "stored")
    # Before anything is finished, the row refers to the content that it describes.
    found = await Artifact.get(artifact.uid)
    assert (await found.cache()).read_text() == ("new" if happened else "old")

    async with inhaul.connect(storage=place.root, db=f"sqlite:///{tmp_path}/registry.db") as again:
        await again.open()
    assert notes(instance_at_place) == []
    found = await Artifact.get(artifact.uid)
    key = f"in/table{suffix}" if happened else KEY
    assert (found.key, found.object_key) == (key, key)
    assert place.contents() == {key: "new" if happened else "old"}


@pytest.mark.parametrize("call", ["ingest", "replace"])
async def test_the_next_call_first_finishes_a_killed_replacement(
    instance_at_place: inhaul.Instance,
    place: Place,
    artifact: Artifact,
    tmp_path: Path,
    call: str,
) -> None:
    """Otherwise it would plan with an old row and a new file, or the reverse."""
    new = write(tmp_path / "new.txt", "new")
    killed(_KILLED, "switched", place.root, artifact.uid, str(new))
    async with inhaul.connect(storage=place.root, db=f"sqlite:///{tmp_path}/registry.db"):
        if call == "ingest":
            await inhaul.ingest(place.root)
        else:
            await (await Artifact.get(artifact.uid)).replace(write(tmp_path / "newer.txt", "newer"))
        found = await Artifact.get(artifact.uid)
        assert await found.load() == ("new" if call == "ingest" else "newer")
        assert await found.versions.count() == 1
        assert (await inhaul.verify(read=True)).ok
    assert notes(instance_at_place) == []


async def test_an_edit_after_a_crash_is_kept(
    instance_at_place: inhaul.Instance, place: Place, artifact: Artifact, tmp_path: Path
) -> None:
    new = write(tmp_path / "new.txt", "new")
    killed(_KILLED, "switched", place.root, artifact.uid, str(new))
    place.put(KEY, "edited")
    async with inhaul.connect(storage=place.root, db=f"sqlite:///{tmp_path}/registry.db") as again:
        with pytest.warns(UserWarning, match="name of its own"):
            await again.open()
    assert place.contents()[KEY] == "edited"
    assert (await (await Artifact.get(artifact.uid)).cache()).read_text() == "new"
    assert [note.stem for note in notes(instance_at_place)] == [artifact.uid]


_KILLED_SAVE = """
import asyncio, os, signal, sys
import inhaul
from inhaul.db import leases
from inhaul.registry.verbs import save

async def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(*{"before the row": (save, "insert"), "after the row": (leases, "end")}[sys.argv[4]], killed)

async def main():
    async with inhaul.connect(storage=sys.argv[1], db="sqlite:///registry.db"):
        await inhaul.Artifact(sys.argv[2], key=sys.argv[3], key_is_virtual=False).save()

asyncio.run(main())
"""


def killed_save(place: Place, source: Path, when: str = "before the row") -> None:
    killed(_KILLED_SAVE, place.root, str(source), KEY, when)


@pytest.mark.parametrize("size", [3, 9 << 20])
async def test_a_save_that_was_killed_before_its_row_can_be_repeated(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path, size: int
) -> None:
    source = write(tmp_path / "table.txt", "x" * size)
    killed_save(place, source)
    assert place.contents() == {KEY: "x" * size}
    assert (await inhaul.gc(delete=True, older_than=timedelta(0))).objects == []
    with pytest.raises(KeyExists, match="register that file by its own path"):
        await Artifact(write(tmp_path / "other.txt", "y" * size), key=KEY, key_is_virtual=False)

    several = [Artifact(write(tmp_path / f"{n}.txt", str(n)), key=f"{n}.txt", key_is_virtual=False) for n in range(9)]
    again = Artifact(source, key=KEY, key_is_virtual=False)
    await inhaul.save([*several, again])
    assert (again.object_key, again.key_is_virtual, await again.versions.count()) == (KEY, False, 1)
    assert (await inhaul.verify(read=True)).ok


async def test_what_a_killed_save_left_stays_when_the_next_one_fails(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    source = write(tmp_path / "table.txt", "old")
    killed_save(place, source)
    artifact = await Artifact(source, key=KEY, key_is_virtual=False)
    struck = await breaker(instance_at_place)
    struck.fail_commit(3, "refused")  # after the lease and the mark
    with pytest.raises(DatabaseFailed):
        await artifact.save()
    assert place.contents() == {KEY: "old"}, "it was there before"
    place.put(KEY, "new")
    with pytest.raises(KeyExists):
        await artifact.save()
    assert place.contents() == {KEY: "new"}, "somebody else's"
    place.put(KEY, "old")
    assert await (await artifact.save()).load() == "old"


async def test_the_object_of_a_call_that_runs_is_not_taken(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    """The running call may still remove it, and the row of the other call would have no object."""
    source = write(tmp_path / "table.txt", "old")
    place.put(KEY, "old")
    async with storing(instance_at_place.database, target=target_of(place.root, KEY)):
        with pytest.raises(KeyExists):
            await Artifact(source, key=KEY, key_is_virtual=False).save()


async def test_a_save_waits_for_another_one_of_the_same_key(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    """If several uploads in parts are completed at once, some servers let more than one succeed."""
    saving = Artifact(write(tmp_path / "table.txt", "old"), key=KEY, key_is_virtual=False)
    async with storing(instance_at_place.database, target=target_of(place.root, KEY)):
        task = asyncio.create_task(saving.save())
        await asyncio.wait([task], timeout=1)
        assert not task.done()
        assert await asyncio.to_thread(place.contents) == {}
        other = Artifact(write(tmp_path / "b.txt", "b"), key="b.txt", key_is_virtual=False)
        await other.save()  # waits for nobody
    await task
    assert await asyncio.to_thread(place.contents) == {KEY: "old", "b.txt": "b"}


async def test_a_cancelled_save_that_waits_for_another_one_leaves_no_lease(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    saving = Artifact(write(tmp_path / "table.txt", "old"), key=KEY, key_is_virtual=False)
    async with storing(instance_at_place.database, target=target_of(place.root, KEY)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await saving.save()
    await asyncio.wait_for(saving.save(), 5)


@pytest.mark.parametrize("size", [1, 9 << 20], ids=["at once", "in parts"])
async def test_one_of_many_saves_of_a_key_succeeds_and_has_its_own_content(
    database_url: str, s3_root: str, tmp_path: Path, size: int
) -> None:
    sources = [write(tmp_path / f"{number}.txt", str(number) * size) for number in range(4)]
    async with inhaul.connect(storage=s3_root, db=database_url):
        artifacts = [await Artifact(source, key=KEY, key_is_virtual=False) for source in sources]
        ends = await asyncio.gather(*(one.save() for one in artifacts), return_exceptions=True)
        saved = [one for one in ends if isinstance(one, Artifact)]
        assert len(saved) == 1, ends
        assert all(isinstance(end, KeyExists) for end in ends if end is not saved[0])
        assert await saved[0].load() == sources[artifacts.index(saved[0])].read_text()
        assert (await inhaul.verify(read=True)).ok


async def test_an_equal_file_of_the_user_is_not_taken(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    source = write(tmp_path / "table.txt", "old")
    place.put(KEY, "old")
    with pytest.raises(KeyExists, match="register that file by its own path"):
        await Artifact(source, key=KEY, key_is_virtual=False).save()
    assert place.contents() == {KEY: "old"}


async def test_what_a_killed_save_left_is_taken_once(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    source = write(tmp_path / "table.txt", "old")
    killed_save(place, source)
    await (await Artifact(source, key=KEY, key_is_virtual=False).save()).delete(permanent=True)
    assert place.contents() == {KEY: "old"}, "it is under the user's key"
    with pytest.raises(KeyExists):
        await Artifact(source, key=KEY, key_is_virtual=False).save()


async def held(instance: inhaul.Instance) -> list[leases.Lease]:
    async with instance.database.read() as conn:
        return await leases.held(conn, collects=False)


@pytest.mark.parametrize("when", ["before the row", "after the row"])
async def test_after_a_killed_save_garbage_is_collected_as_before(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path, when: str
) -> None:
    killed_save(place, write(tmp_path / "table.txt", "old"), when)
    for number in range(2):
        other = await Artifact(write(tmp_path / f"{number}.txt", str(number)), key=f"{number}.txt").save()
        await other.delete(permanent=True, storage=False)
        listed = await inhaul.gc(older_than=timedelta(0))
        assert len(listed.objects) == 1
        assert (await inhaul.gc(delete=True, older_than=timedelta(0))).objects == listed.objects
        assert (await inhaul.verify()).ok
        assert place.contents()[KEY] == "old"


async def test_a_save_that_was_killed_after_its_row_proves_nothing_about_a_later_object(
    instance_at_place: inhaul.Instance, place: Place, tmp_path: Path
) -> None:
    source = write(tmp_path / "table.txt", "old")
    killed_save(place, source, "after the row")
    assert [one.target for one in await held(instance_at_place)] == [None]
    again = await Artifact(source, key=KEY, key_is_virtual=False).save()
    assert await again.versions.count() == 1
    await inhaul.gc(delete=True, older_than=timedelta(0))
    assert await held(instance_at_place) == []
    await again.delete(permanent=True, storage=False)
    with pytest.raises(KeyExists):
        await Artifact(source, key=KEY, key_is_virtual=False).save()
