"""Records, query sets and instances in other processes."""
# ruff: noqa: S301 - the tests read what they wrote

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, Collection, Feature, Run, Transform, ULabel
from trees import write

PROGRAM = """
import asyncio, pickle, sys

async def main():
    with open(sys.argv[1], "rb") as file:
        artifact, collection, storage, run, query, valued, instance = pickle.load(file)
    print(artifact.key, artifact.path.read_text(), artifact.storage.root == storage.root, artifact.description)
    print([one.key for one in await collection.artifacts.all()])
    print([one.key async for one in query], await valued.count(), run.transform.name, run.params)
    print(artifact == await query.first(), instance.root == storage.root)
    await artifact.save()
    await instance.aclose()

asyncio.run(main())
"""


async def test_they_work_in_another_process(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = await Run(await Transform(name="made").save(), params={"rate": 3}).save()
    artifact = await Artifact(write(tmp_path / "a.txt", "content"), key="a.txt", run=run).save()
    await Artifact(write(tmp_path / "b.txt", "other"), key="b.txt", run=run).save()
    label = await ULabel(name="lung").save()
    await Feature(name="depth", dtype="int").save()
    await artifact.labels.add(label)
    await artifact.features.add_values({"depth": 3})
    artifact.description = "not saved yet"
    collection = await Collection([artifact], name="chosen").save()
    query = Artifact.filter(ulabels__name="lung", key__startswith="a", run__transform__name="made").order_by("-size")
    valued = Artifact.features.filter(depth__gt=2)
    sent = (artifact, collection, artifact.storage, run, query, valued, instance)
    file = tmp_path / "sent"
    file.write_bytes(pickle.dumps(sent))
    shown = subprocess.check_output([sys.executable, "-c", PROGRAM, file], text=True, cwd=tmp_path)
    assert shown.splitlines() == [
        "a.txt content True not saved yet",
        "['a.txt']",
        "['a.txt'] 1 made {'rate': 3}",
        "True True",
    ]
    again = await Artifact.filter(uid=artifact.uid).one()
    assert again.description == "not saved yet"


async def test_in_the_same_process_they_belong_to_the_same_instance(instance: inhaul.Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "content"), key="a.txt").save()
    again = pickle.loads(pickle.dumps(artifact))
    assert again == artifact
    assert again._home is instance
    assert await pickle.loads(pickle.dumps(Artifact.filter()[:1])).all() == [artifact]


def test_the_twin_travels_too(tmp_path: Path) -> None:
    with inhaul.sync.connect(tmp_path / "storage") as instance:
        artifact = inhaul.sync.Artifact(write(tmp_path / "a.txt", "content"), key="a.txt").save()
        for one in (artifact, inhaul.sync.Artifact.filter(key="a.txt").one(), pickle.loads(pickle.dumps(artifact))):
            again = pickle.loads(pickle.dumps(one))
            assert type(again) is inhaul.sync.Artifact
            assert again.path.read_text() == "content"
        assert pickle.loads(pickle.dumps(inhaul.sync.Artifact.filter(key="a.txt"))).count() == 1
        assert repr(pickle.loads(pickle.dumps(instance))) == repr(instance)


async def test_an_unsaved_record_stays_here(instance: inhaul.Instance, tmp_path: Path) -> None:
    for one in (Transform(name="x"), await Artifact(write(tmp_path / "a.txt", "content"), key="a.txt")):
        with pytest.raises(TypeError, match="not saved"):
            pickle.dumps(one)


@pytest.mark.parametrize("address", ["postgresql://me:s3cret@host/db?sslmode=require", "sqlite:///{}/registry.db"])
def test_no_secret_travels(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"key": "name", "secret": "s3cret"}
    url = address.format(tmp_path)
    first = inhaul.connect("s3://bucket/prefix", url, storage_options=options)
    first.leave()
    sent = pickle.dumps(first)
    assert b"s3cret" not in sent
    monkeypatch.setenv("INHAUL_DB", url)
    again = pickle.loads(sent)
    assert (again.root, str(again.database), again.home) == (first.root, str(first.database), first.home)
