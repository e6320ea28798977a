"""What a killed process leaves, and what the same call then makes of it."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import children
from inhaul import Artifact, connect, ingest
from inhaul.keys import next_uid
from registries import artifacts, assert_consistent, assert_holds, comparable, seeds
from trees import grow

FILES = 800


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("corpus") / "tree"
    grow(tree, FILES, largest=16 << 10)
    return tree


def whole_run(root: Path, url: str, tree: Path) -> float:
    """Runs an ingest in its own process. Returns the seconds from its first line to its last."""
    with subprocess.Popen([sys.executable, "-c", children.INGEST, root, url, tree], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        start = time.monotonic()
        assert child.stdout.readline() == b"done\n"
        return time.monotonic() - start


def killed_after(seconds: float, *arguments: str | Path) -> bool:
    """Runs an ingest and kills it so many seconds after its first line. Returns False if it ended before."""
    with subprocess.Popen([sys.executable, "-c", children.INGEST, *arguments], stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
        return child.wait() < 0


@seeds(1, 50)
@pytest.mark.parametrize("place", ["copied", "in place"])
async def test_the_same_call_after_a_kill_ends_as_if_nothing_had_happened(
    database_url: str, tmp_path: Path, corpus: Path, place: str, seed: int
) -> None:
    rng = random.Random(f"{seed} {place} {database_url[:6]}")
    root, reference = tmp_path / "storage", tmp_path / "reference"
    tree = same = corpus
    if place == "in place":
        tree = shutil.copytree(corpus, root / "tree")
        same = shutil.copytree(corpus, reference / "tree")
    # The reference is in SQLite: what the rows hold does not depend on where they are.
    reference_url = f"sqlite:///{tmp_path}/reference.db"
    seconds = whole_run(reference, reference_url, same)
    expected = comparable(await assert_holds(reference_url, reference, same))

    for _ in range(rng.randint(1, 3)):
        killed_after(rng.uniform(0, 1.5 * seconds), root, database_url, tree)
        await assert_consistent(database_url, root, orphans=True)
    before = {row["key"]: row["uid"] for row in await artifacts(database_url)}

    finished = children.run(children.INGEST, str(root), database_url, str(tree))
    assert (finished.returncode, finished.stderr) == (0, "")
    latest = await assert_holds(database_url, root, tree)
    kept = comparable(latest)
    for rows in (expected, kept):
        for row in rows.values():
            row["is_latest"], row["key_is_virtual"] = bool(row["is_latest"]), bool(row["key_is_virtual"])
    assert kept == expected
    assert {key: latest[key]["uid"] for key in before} == before, "what was committed must stay"
    assert len(await artifacts(database_url)) == FILES


@seeds(1, 50)
async def test_a_kill_while_versions_change_loses_neither(tmp_path: Path, corpus: Path, seed: int) -> None:
    rng = random.Random(seed)
    url, root = f"sqlite:///{tmp_path}/registry.db", tmp_path / "storage"
    tree = shutil.copytree(corpus, tmp_path / "tree")
    seconds = whole_run(root, url, tree)
    first = await assert_holds(url, root, tree)
    for path in rng.sample(sorted(path for path in tree.rglob("*") if path.is_file()), FILES // 2):
        path.write_bytes(path.read_bytes() + b"more")
    killed_after(rng.uniform(0, seconds), root, url, tree)
    await assert_consistent(url, root, orphans=True)
    assert children.run(children.INGEST, str(root), url, str(tree)).returncode == 0
    await assert_holds(url, root, tree)
    rows = {row["uid"]: row for row in await artifacts(url)}
    assert len(rows) == FILES + FILES // 2
    assert all(rows[row["uid"]]["hash"] == row["hash"] for row in first.values()), "an old version was harmed"


@pytest.mark.parametrize("call", ["openat", "openat2", "fsync", "syncfs", "unlink"])
@seeds(1, 20)
async def test_an_ingest_killed_at_a_system_call_can_be_repeated(
    tmp_path: Path, corpus: Path, call: str, seed: int
) -> None:
    """It dies at its n-th call of a kind that random moments seldom meet."""
    url, root = f"sqlite:///{tmp_path}/registry.db", tmp_path / "storage"
    when = random.Random(f"{seed} {call}").choice([1, 2, 3, 5, 8, 50, 700])
    strace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}")
    inject = ("-e", f"inject={call}:signal=KILL:when={when}")
    children.run(children.INGEST, str(root), url, str(corpus), wrapper=(*strace, *inject))
    await assert_consistent(url, root, orphans=True)
    assert children.run(children.INGEST, str(root), url, str(corpus)).returncode == 0
    await assert_holds(url, root, corpus)


@pytest.mark.parametrize("way", ["ingest", "save"])
async def test_an_object_left_in_the_place_of_the_next_version_is_no_obstacle(tmp_path: Path, way: str) -> None:
    """A killed call for another folder or file leaves such an object, and no session of this call knows of it."""
    url, root, tree = f"sqlite:///{tmp_path}/registry.db", tmp_path / "storage", tmp_path / "tree"
    tree.mkdir()
    (tree / "x.csv").write_text("first")
    async with connect(root, url):
        (first,) = await Artifact.from_dir(tree).save()
        for name in (f"{next_uid(first.uid)}.csv", f"{next_uid(first.uid)}.a1B2c3.csv"):
            (first.path.parent / name).write_text("left")
        (tree / "x.csv").write_text("second")
        if way == "ingest":
            assert (await ingest(tree)).failed == []
        else:
            await Artifact(tree / "x.csv", key="tree/x.csv").save()
        latest = await Artifact.filter(key="tree/x.csv", is_latest=True).one()
        assert (await latest.cache()).read_text() == "second"
    await assert_consistent(url, root, orphans=True)
