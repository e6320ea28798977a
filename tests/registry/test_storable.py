"""Texts that no database or path can hold are refused where they are given; the error shows name and value."""

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import children
import inhaul
from inhaul import Artifact, Collection, Feature, FeatureSet, Run, Storage, Transform, ULabel, User, datasets
from inhaul.errors import InhaulError, UnsupportedDatabase, UnsupportedStorage
from trees import write

BAD = {"half of a surrogate pair": "x\udcffy", "a NUL character": "x\0y"}
SHOWN = {"x\udcffy": r"x\\udcffy", "x\0y": r"x\\x00y"}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.txt", "a")


def made(bad: str, artifact: Artifact, feature: Feature) -> dict[str, Callable[[], object]]:
    """Returns calls that refuse a text at once, by the name that their error gives it."""
    return {
        "key": lambda: Artifact("d/a.txt", key=f"{bad}.txt"),
        "real key": lambda: Artifact("d/a.txt", key=f"{bad}.txt", key_is_virtual=False),
        "another key": lambda: setattr(artifact, "key", f"{bad}.txt"),
        "description=": lambda: Artifact("d/a.txt", key="b.txt", description=bad),
        "another description=": lambda: setattr(artifact, "description", bad),
        "version=": lambda: Artifact("d/a.txt", key="b.txt", version=bad),
        "another version=": lambda: setattr(artifact, "version", bad),
        "accessor=": lambda: Artifact("d/a.txt", key="b.txt", accessor=bad),
        "name=": lambda: ULabel(bad),
        "another name=": lambda: setattr(ULabel("a"), "name", bad),
        "description= of a label": lambda: ULabel("a", description=bad),
        "name= of a feature": lambda: Feature(bad, dtype="int"),
        "name= of a transform": lambda: Transform(bad),
        "name= of a collection": lambda: Collection([artifact], name=bad),
        "description= of a collection": lambda: Collection([artifact], name="c", description=bad),
        "handle=": lambda: User(bad),
        "user=": lambda: setattr(inhaul.settings, "user", bad),
        "a root": lambda: Storage(bad),
        "a storage on S3": lambda: Artifact("d/a.txt", key="b.txt", storage=f"s3://bucket/{bad}"),
        "key of a folder": lambda: Artifact.from_dir("d", key=bad),
        "a pattern of exclude=": lambda: Artifact.from_dir("d", exclude=[bad]),
        "slot=": lambda: artifact.features[bad],
    }


def awaited(bad: str, artifact: Artifact, feature: Feature) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Returns calls that refuse a text before they write anything."""
    return {
        "slot=": lambda: artifact.features.add_feature_set(FeatureSet([feature]), bad),
        "feature=": lambda: artifact.features.add_values({bad: 1}),
        "feature= to remove": lambda: artifact.features.remove_values(bad),
        "f=": lambda: artifact.features.add_values({"f": bad}),
        "key of an ingest": lambda: inhaul.ingest("d", bad),
    }


@pytest.mark.parametrize("problem", BAD)
async def test_texts_that_no_database_can_hold_are_refused(instance: inhaul.Instance, problem: str) -> None:
    bad = BAD[problem]
    artifact = await Artifact("d/a.txt", key="a.txt").save()
    feature = await Feature("f", dtype="str").save()
    for name, call in made(bad, artifact, feature).items():
        with pytest.raises(InhaulError, match=problem.split()[-1] if "S3" in name else SHOWN[bad]) as caught:
            call()
        assert isinstance(caught.value, ValueError | UnsupportedStorage), name
        if named := re.search(r"\S*=", name):
            assert named[0].rstrip("=") in str(caught.value), name
    for name, wait in awaited(bad, artifact, feature).items():
        with pytest.raises(InhaulError, match=SHOWN[bad]):
            await wait()
            pytest.fail(name)
    assert artifact.key == "a.txt"
    assert await Artifact.objects.count() == 1


@pytest.mark.parametrize("bad", BAD.values())
async def test_roots_and_addresses_with_such_texts_are_refused(tmp_path: Path, bad: str) -> None:
    for storage in (f"s3://bucket/{bad}", f"s3://bucket/p?endpoint_url=http://{bad}"):
        for refuse in (Storage, inhaul.connect):
            with pytest.raises(InhaulError, match="NUL character"):  # or half of a surrogate pair
                refuse(storage)
    with pytest.raises(InhaulError, match=SHOWN[bad]):
        inhaul.connect(bad)
    with pytest.raises(InhaulError, match=SHOWN[bad]):
        inhaul.connect("s3://bucket", local_storage=bad)
    with pytest.raises(UnsupportedDatabase, match="NUL character"):
        inhaul.connect("storage", f"postgresql://localhost/{bad}")
    async with inhaul.connect("storage"):
        record = await Storage("storage").save()
        with pytest.raises(InhaulError, match=SHOWN[bad]):
            await record.move(bad)
    with pytest.raises(InhaulError, match=SHOWN[bad]):
        datasets.generate_cell_ranger_files(bad)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "storage"]


def test_paths_with_a_nul_character_are_refused() -> None:
    for refuse in (
        lambda: inhaul.connect("storage", "sqlite:///a\0b"),
        lambda: setattr(inhaul.settings, "cache_dir", "a\0b"),
        lambda: Artifact("a\0b", key="a"),
        lambda: Artifact.from_dir("a\0b"),
        lambda: Storage("a\0b"),
    ):
        with pytest.raises(InhaulError, match="NUL character"):
            refuse()


async def test_a_user_whose_name_is_not_utf8_is_refused() -> None:
    code = "import inhaul; inhaul.connect('storage')"
    done = children.run(code, wrapper=("env", os.fsdecode(b"INHAUL_USER=x\xffy")))
    assert r"InvalidText: INHAUL_USER='x\udcffy': it holds half of a surrogate pair" in done.stderr


@pytest.mark.parametrize("value", ["a\0b", ["\0"], {"\0": "\0"}])
async def test_json_has_a_form_for_a_nul_character(instance: inhaul.Instance, value: object) -> None:
    run = await Run(Transform("t"), params={"a": value}).save()
    assert (await Run.get(run.uid)).params == {"a": value}
