"""Several processes at one registry."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import children
from registries import artifacts, assert_holds, seeds
from trees import grow

FILES = 300

SAVE = """
import asyncio, json, sys, inhaul
async def main():
    async with inhaul.connect(sys.argv[1], sys.argv[2]):
        print("ready", flush=True)
        input()
        saved = await inhaul.Artifact.from_dir(sys.argv[3]).save()
        assert saved.failed == [], saved.failed
        print(json.dumps({a.key: a.uid for a in saved}))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("corpus") / "tree"
    grow(tree, FILES)
    return tree


@seeds(1, 100)
@pytest.mark.parametrize("place", ["copied", "in place"])
async def test_processes_that_ingest_the_same_folder_get_the_same_artifacts(
    database_url: str, tmp_path: Path, corpus: Path, place: str, seed: int
) -> None:
    root = tmp_path / "storage"
    tree = shutil.copytree(corpus, root / "tree") if place == "in place" else corpus
    outputs = children.race(SAVE, str(root), database_url, str(tree), processes=2 + seed % 2)
    latest = await assert_holds(database_url, root, tree)
    assert len(await artifacts(database_url)) == FILES
    for output in outputs:
        assert json.loads(output) == {key: row["uid"] for key, row in latest.items()}


@seeds(1, 30)
async def test_processes_that_ingest_changed_files_make_one_version(
    database_url: str, tmp_path: Path, corpus: Path, seed: int
) -> None:
    root, tree = tmp_path / "storage", shutil.copytree(corpus, tmp_path / "tree")
    children.race(SAVE, str(root), database_url, str(tree), processes=1)
    changed = [path for path in sorted(tree.rglob("*")) if path.is_file()][:: 2 + seed]
    for path in changed:
        path.write_bytes(path.read_bytes() + b"more")
    outputs = children.race(SAVE, str(root), database_url, str(tree), processes=2)
    latest = await assert_holds(database_url, root, tree)
    assert len(await artifacts(database_url)) == FILES + len(changed)
    for output in outputs:
        assert json.loads(output) == {key: row["uid"] for key, row in latest.items()}


@seeds(1, 20)
async def test_processes_that_ingest_different_folders_do_not_wait_in_vain(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    """One process for each folder, all at one database: nobody is told that it is locked."""
    root = tmp_path / "storage"
    script = SAVE.replace("sys.argv[3]", "sys.argv[3] + '/' + input()")
    running = []
    for number in range(3):
        grow(tmp_path / "trees" / f"t{number}", FILES, seed=seed * 10 + number)
        command = [sys.executable, "-c", script, root, database_url, tmp_path / "trees"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running.append(subprocess.Popen(command, text=True, **pipes))
    for number, child in enumerate(running):
        assert child.stdin
        child.stdin.write(f"\nt{number}\n")
        child.stdin.flush()
    for child in running:
        _, errors = child.communicate()
        assert (child.returncode, errors) == (0, "")
    latest = {row["key"] for row in await artifacts(database_url)}
    assert len(latest) == 3 * FILES
