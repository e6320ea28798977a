"""Links in a storage: nothing outside of it is read, written or removed through them."""

import asyncio
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import inhaul
from inhaul import Artifact, connect, gc, ingest, verify
from inhaul.db import bulk
from inhaul.errors import InvalidKey, LinkRefused, NoResultFound, StorageMissing
from inhaul.hashing import hash_bytes
from inhaul.instance import Instance
from inhaul.stores.local.store import LocalStore
from inhaul.upkeep.reports import Defect
from registries import query, seeds
from trees import write


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder outside of the storage, which the test must not change."""
    folder = tmp_path / "outside"
    write(folder / "precious.txt", "outside")
    write(folder / "deep" / "er.txt", "outside, too")
    with unchanged(folder):
        yield folder


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    def look() -> dict[str, tuple[str, int]]:
        found = sorted(folder.rglob("*"))
        return {
            str(path.relative_to(folder)): (path.read_text() if path.is_file() else "", path.lstat().st_mtime_ns)
            for path in [folder, *found]
        }

    before = look()
    yield
    assert look() == before


LEADING_OUT: dict[str, Callable[[Path, Path], Path]] = {
    "at the top": lambda root, outside: _link(root / "link", outside),
    "below a folder": lambda root, outside: _link(root / "a" / "b" / "link", outside),
    "relative": lambda root, outside: _link(root / "link", Path(os.path.relpath(outside, root))),
    "by another link": lambda root, outside: _link(root / "link", Path("other"), _link(root / "other", outside)),
    "through the folder above": lambda root, _: _link(root / "a" / "link", Path("../../outside")),
    "to the folder above": lambda root, _: _link(root / "link", Path("..")) / "outside",
    "to nothing": lambda root, outside: _link(root / "link", outside / "none"),
}


def _link(path: Path, target: Path, _: object = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


leading_out = pytest.mark.parametrize("kind", LEADING_OUT)


@leading_out
async def test_nothing_is_saved_behind_a_link(instance: Instance, tmp_path: Path, outside: Path, kind: str) -> None:
    link = LEADING_OUT[kind](Path(instance.root), outside)
    key = f"{link.relative_to(instance.root)}/evil.txt"
    with pytest.raises(LinkRefused) as caught:
        await Artifact(write(tmp_path / "evil.txt", "evil"), key=key, key_is_virtual=False).save()
    assert "link" in str(caught.value)
    assert key in str(caught.value)
    assert await Artifact.objects.count() == 0


async def test_nothing_is_saved_behind_a_link_that_stays_inside(instance: Instance, tmp_path: Path) -> None:
    write(Path(instance.root, "real", "a.txt"), "a")
    _link(Path(instance.root, "link"), Path("real"))
    with pytest.raises(LinkRefused, match=r"'?\"link\" is a link to \"real\""):
        await Artifact(write(tmp_path / "b.txt", "b"), key="link/b.txt", key_is_virtual=False).save()


async def test_nothing_is_saved_behind_a_link_to_itself(instance: Instance, tmp_path: Path) -> None:
    _link(Path(instance.root, "loop"), Path("loop"))
    with pytest.raises(LinkRefused, match='"loop" is a link to "loop"'):
        await Artifact(write(tmp_path / "b.txt", "b"), key="loop/b.txt", key_is_virtual=False).save()


async def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    _link(tmp_path / "storage", Path("disk"))
    async with connect(storage=tmp_path / "storage") as instance:
        artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", key_is_virtual=False).save()
        assert (tmp_path / "disk" / "a.txt").read_text() == "a"
    shutil.move(tmp_path / "disk", tmp_path / "other")
    _link(tmp_path / "disk", Path("other"))  # the path that the registry has as the root became a link
    async with connect(storage=tmp_path / "storage", db=f"sqlite:///{tmp_path}/other/.inhaul/registry.db") as instance:
        assert (await (await Artifact.get(artifact.uid)).cache()).read_text() == "a"
        await Artifact(write(tmp_path / "b.txt", "b"), key="b.txt").save()
        await (await Artifact.get(artifact.uid)).delete(permanent=True, storage=True)
        assert not (tmp_path / "other" / "a.txt").exists()
        assert (await verify()).ok
        assert instance.root == str(tmp_path / "other")


@leading_out
async def test_what_became_a_link_is_neither_read_nor_removed(
    instance: Instance, tmp_path: Path, outside: Path, kind: str
) -> None:
    place = LEADING_OUT[kind](Path(instance.root), tmp_path / "nowhere").relative_to(instance.root)
    shutil.rmtree(instance.root)
    if kind == "to the folder above":
        place = place.parent
    path = write(Path(instance.root, place, "precious.txt"), "outside")
    file = await Artifact(path).save()
    shutil.rmtree(Path(instance.root, place.parts[0]))
    with suppress(FileNotFoundError):
        shutil.rmtree(instance.root + "/other")
    LEADING_OUT[kind](Path(instance.root), outside)
    if kind == "to the folder above":
        write(tmp_path / "precious.txt", "outside")

    report = await verify(read=True)
    assert [finding.uid for finding in report.findings] == [file.uid]
    if kind != "to nothing":
        assert report.findings[0].defect is Defect.UNREADABLE
        assert "link" in report.findings[0].detail
    for verb in (file.cache, file.load):
        with pytest.raises((LinkRefused, FileNotFoundError)):
            await verb()
    with pytest.raises(LinkRefused):
        await file.replace(write(tmp_path / "new.txt", "new"))
    with pytest.raises(LinkRefused, match="link"):
        await file.delete(permanent=True, storage=True)
    await (await Artifact.get(file.uid)).delete(permanent=True, storage=False)


@pytest.mark.parametrize("where", [".inhaul", ".inhaul/a", ".inhaul/temporary"])
async def test_links_among_stored_objects_are_refused(
    instance: Instance, tmp_path: Path, outside: Path, where: str
) -> None:
    root = Path(instance.root)
    if where == ".inhaul":
        root.mkdir()
    else:
        (root / ".inhaul").mkdir(parents=True)
    _link(root / where, outside)
    source = write(tmp_path / "d" / "a.txt", "a").parent
    async with connect(storage=root, db=f"sqlite:///{tmp_path}/registry.db") as other:
        other.home = tmp_path / "home"
        if where == ".inhaul/temporary":
            with pytest.raises(LinkRefused, match="temporary"):
                await Artifact(source / "a.txt", key="a.txt", key_is_virtual=False).save()
        else:
            with pytest.raises(LinkRefused, match="inhaul"):
                await ingest(source)
        assert await Artifact.objects.count() == 0
        with suppress(NoResultFound):
            await gc(delete=True)


async def test_a_folder_that_became_a_link_is_not_removed(instance: Instance, tmp_path: Path, outside: Path) -> None:
    write(tmp_path / "d" / "precious.txt", "outside")
    stored = await Artifact(tmp_path / "d", key="stored").save()
    write(Path(instance.root, "d", "precious.txt"), "outside")
    in_place = await Artifact(Path(instance.root, "d")).save()
    for artifact in (stored, in_place):
        path = artifact.path
        assert isinstance(path, Path)
        shutil.rmtree(path)
        _link(path, outside)
        with pytest.raises(LinkRefused, match="link"):
            await artifact.cache()
        with pytest.raises(LinkRefused, match="link"):
            await artifact.delete(permanent=True, storage=True)


async def test_links_inside_the_storage_are_read(instance: Instance) -> None:
    root = Path(instance.root)
    write(root / "real" / "a.txt", "a")
    _link(root / "relative", Path("real"))
    _link(root / "absolute", root / "real")
    _link(root / "file.txt", root / "real" / "a.txt")
    report = await ingest(root, follow_symlinks=True)
    assert report.failed == report.skipped == []
    found = await Artifact.objects.all()
    assert {it.key for it in found} == {"real/a.txt", "relative/a.txt", "absolute/a.txt", "file.txt"}
    for artifact in found:
        assert await artifact.load() == "a"
    assert (await verify(read=True)).ok
    linked = next(it for it in found if it.key == "absolute/a.txt")
    with pytest.raises(LinkRefused, match="absolute"):  # its bytes are those of another artifact, too
        await linked.delete(permanent=True, storage=True)
    assert (root / "real" / "a.txt").exists()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("durability", ["batch", "process"])
async def test_a_root_that_is_replaced_during_an_ingest_gets_no_rows_without_objects(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool, durability: str
) -> None:
    monkeypatch.setattr(inhaul.settings, "durability", durability)
    root, url = tmp_path / "storage", f"sqlite:///{tmp_path}/registry.db"
    folder = root / "d" if in_place else tmp_path / "d"
    for number in range(300):
        write(folder / f"{number:04}", f"{number}")
    insert = bulk.insert_artifacts

    def swap() -> None:
        replaced = folder if in_place else root
        replaced.rename(tmp_path / "moved")
        replaced.symlink_to(outside)

    async def swap_and_insert(*arguments: Any) -> Sequence[int]:
        await asyncio.to_thread(swap)
        return await insert(*arguments)

    monkeypatch.setattr(bulk, "insert_artifacts", swap_and_insert)
    async with connect(storage=root, db=url) as instance:
        instance.home = tmp_path / "home"
        with pytest.raises(StorageMissing, match="moved"):
            await ingest(folder)
    assert await query(url, "SELECT object_key FROM artifact") == []


def nothing_leads_out(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def maze(root: Path, outside: Path, dice: random.Random) -> list[str]:
    """Fills a storage with folders, files and links of all kinds. Returns names for keys."""
    names = ["a", "b", "c", "d e", "\u00e9"]
    folders = [root]
    for _ in range(12):
        folder = dice.choice(folders) / dice.choice(names)
        if not os.path.lexists(folder):
            folder.mkdir()
            folders.append(folder)
    targets = [
        lambda at: outside,
        lambda at: outside / "precious.txt",
        lambda at: Path(os.path.relpath(outside, at)),
        lambda at: Path(os.path.relpath(dice.choice(folders), at)),
        lambda at: dice.choice(folders),
        lambda at: Path(".."),
        lambda at: Path("../.."),
        lambda at: Path(os.path.relpath(root, at)) / ".." / "outside" / "deep",
        lambda at: Path("..") / root.name / dice.choice(names),
        lambda at: Path(dice.choice(names)),
        lambda at: Path("/nowhere"),
    ]
    for _ in range(25):
        folder = dice.choice(folders)
        path = folder / dice.choice([*names, "f", "g"])
        if os.path.lexists(path):
            continue
        if dice.random() < 0.6:
            path.symlink_to(dice.choice(targets)(folder))
        else:
            path.write_text(f"inside {dice.random()}")
    return [*names, "f", "g", "precious.txt", "deep", "er.txt", "new"]


@seeds(40, 4000)
async def test_no_operation_leads_out_of_a_maze_of_links(tmp_path: Path, outside: Path, seed: int) -> None:
    dice = random.Random(seed)
    root = tmp_path / "root"
    (root / ".inhaul").mkdir(parents=True)
    names = maze(root, outside, dice)
    store, done = LocalStore(root), 0
    secrets = {hash_bytes(text.encode()) for text in ("outside", "outside, too")}
    for step in range(60):
        key = "/".join(dice.choice(names) for _ in range(dice.randint(1, 4)))
        if dice.random() < 0.1:
            key = dice.choice(
                [f"../{key}", f"{key}/../../{key}", f"/{key}", f"{outside}", f"{key}\0", f".inhaul/../{key}"]
            )
        verb = dice.choice(["put", "over", "file", "stat", "fetch", "hash", "tree", "list", "remove", "clear", "prune"])
        with suppress(InvalidKey, OSError, ValueError):
            match verb:
                case "put" | "over":
                    data = f"new {step}".encode()
                    await store.put_bytes(data, key, hash_bytes(data), exclusive=verb == "put")
                    assert (root / key).read_bytes() == data
                    assert nothing_leads_out(root / key, root)
                case "file":
                    source = write(tmp_path / "source", "new")
                    await store.put_file(source, key, hash_bytes(b"new"), exclusive=dice.random() < 0.5)
                    assert nothing_leads_out(root / key, root)
                case "stat":
                    if await store.stat(key) is not None:
                        assert nothing_leads_out(root / key, root)
                case "fetch":
                    await store.fetch(key, tmp_path / f"copy{step}", (root / key).stat().st_size)
                    assert hash_bytes((tmp_path / f"copy{step}").read_bytes()) not in secrets
                    assert nothing_leads_out(root / key, root)
                case "hash":
                    assert secrets.isdisjoint(await store.hash([key]))
                case "tree":
                    await store.hash_like(key, "md5-tree")
                    assert nothing_leads_out(root / key, root)
                case "list":
                    async for page in store.list(dice.choice([key, f"{key}/", ""])):
                        assert all(nothing_leads_out(root / one.key, root) for one in page)
                case "remove" | "clear":
                    await store.remove([key + "/" * (verb == "clear")])
                case "prune":
                    await store.prune(key)
            done += 1
    assert done


@pytest.mark.parametrize("verb", ["put", "fetch", "remove", "clear", "list"])
async def test_a_folder_that_turns_into_a_link_at_any_moment_leads_nowhere(
    tmp_path: Path, outside: Path, verb: str
) -> None:
    root = tmp_path / "root"
    write(root / "d" / "precious.txt", "inside!")
    _link(root / "link", outside)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for one, other in (("d", "real"), ("link", "d"), ("d", "link"), ("real", "d")):
                with suppress(OSError):
                    (root / one).rename(root / other)

    thread = threading.Thread(target=swap)
    thread.start()
    store, began, done = LocalStore(root), time.monotonic(), 0
    try:
        while time.monotonic() - began < float((os.environ.get("SOAK") and 60) or 0.6):
            with suppress(OSError):
                match verb:
                    case "put":
                        await store.put_bytes(b"new", "d/new.txt", hash_bytes(b"new"))
                    case "fetch":
                        copy = tmp_path / f"copy{done}"
                        await store.fetch("d/precious.txt", copy, 7)
                        assert copy.read_text() == "inside!"
                        copy.unlink()
                    case "remove":
                        await store.remove(["d/precious.txt"])
                    case "clear":
                        await store.remove(["d/"])
                    case "list":
                        async for page in store.list("d/"):
                            assert {one.size for one in page} <= {7}
                done += 1
    finally:
        over.set()
        thread.join()
    assert done
