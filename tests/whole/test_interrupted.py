"""A call that was cancelled, or whose database broke, leaves its record as it was, and succeeds when it is repeated.

Each case is struck at one await after the other; a few of them in continuous integration, all of them with `SOAK`.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

import pandas as pd
import pytest

import inhaul
from inhaul import Artifact, Collection, Feature, Run, Storage, Transform, ULabel, User
from inhaul.errors import InhaulError, NoResultFound
from inhaul.registry import FeatureSet
from registries import rows_have_objects
from striking import Breaker, Struck, breaker, cancel
from trees import write

GAP = 1 if "SOAK" in os.environ else 40  # between two awaits that are struck, on average


class Ground(NamedTuple):
    """What the cases share."""

    instance: inhaul.Instance
    breaker: Breaker
    folder: Path
    label: ULabel
    members: list[Artifact]

    def file(self, suffix: str = ".txt") -> Path:
        """A new file, with content that no other has."""
        name = uuid4().hex
        return write(self.folder / f"{name}{suffix}", name)


class Case(NamedTuple):
    """A call that can be repeated, and what must hold when it has succeeded."""

    record: Any
    call: Callable[[], Coroutine[Any, Any, object]]
    check: Callable[[], Awaitable[None]]


Prepare = Callable[[Ground, str], Awaitable[Case]]


@pytest.fixture
async def ground(
    tmp_path: Path, database_url: str, no_power_fails: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ground]:
    monkeypatch.setattr("inhaul.content.files._KEPT", 100)  # bytes; a longer file counts as large
    async with inhaul.connect(storage=tmp_path / "storage", db=database_url) as instance:
        broken = await breaker(instance)
        files = [write(tmp_path / f"member {number}.txt", str(number)) for number in range(2)]
        members = [await Artifact(file, key=file.name).save() for file in files]
        await inhaul.save([Feature("a", "int"), Feature("b", "float"), Feature("cell", "cat")])
        yield Ground(instance, broken, tmp_path, await ULabel("tumour").save(), members)


async def saved(record: Any, **lookups: Any) -> None:
    """Checks that exactly one row is there, and that the record is that row."""
    rows = await type(record).filter(**lookups)._all()
    assert [(row.id, row.uid) for row in rows] == [(record.id, record.uid)]
    assert repr(record)
    assert record._repr_html_()
    if hasattr(record, "created_by"):
        assert record.created_by.handle == inhaul.settings.user


def new(make: Callable[[str], Any], lookup: str) -> Prepare:
    """A new record that a name identifies."""

    async def prepare(ground: Ground, name: str) -> Case:
        record = make(name)
        return Case(record, record.save, lambda: saved(record, **{lookup: getattr(record, lookup)}))

    return prepare


async def new_storage(ground: Ground, name: str) -> Case:
    storage = Storage(ground.folder / name)
    return Case(storage, storage.save, lambda: saved(storage, root=str(ground.folder / name)))


async def new_run(ground: Ground, name: str) -> Case:
    run = Run(Transform(name), {"depth": 3})

    async def check() -> None:
        await saved(run, transform__name=name)
        await saved(run.transform, name=name)
        run.params["depth"] = 4
        await run.save()
        assert (await Run.get(run.uid)).params == {"depth": 4}

    return Case(run, run.save, check)


async def new_feature_set(ground: Ground, name: str) -> Case:
    one = FeatureSet([Feature(f"{name} x", "int"), Feature(f"{name} y", "int")])

    async def check() -> None:
        await saved(one, hash=one.hash)
        assert await one.features.filter().count() == 2

    return Case(one, one.save, check)


async def new_collection(ground: Ground, name: str) -> Case:
    collection = Collection(ground.members, name)

    async def check() -> None:
        await saved(collection, name=name)
        assert await collection.artifacts.all() == ground.members

    return Case(collection, collection.save, check)


async def next_collection(ground: Ground, name: str) -> Case:
    first = await Collection(ground.members, name).save()
    collection = Collection(ground.members[:1], name)

    async def check() -> None:
        await saved(collection, name=name, is_latest=True)
        assert [one.version for one in await first.versions.all()] == ["1", "2"]

    return Case(collection, collection.save, check)


async def _is_whole(ground: Ground, artifact: Artifact, **lookups: Any) -> None:
    await saved(artifact, **lookups)
    await artifact.labels.add(ground.label)
    assert await artifact.ulabels.all() == [ground.label]
    assert artifact.path.exists()


def new_artifact(**options: Any) -> Prepare:
    async def prepare(ground: Ground, name: str) -> Case:
        run = Run(Transform(f"{name}.py"))
        artifact = Artifact(ground.file(), key=f"{name}.txt", run=run, description="new", **options)

        async def check() -> None:
            await _is_whole(ground, artifact, key=f"{name}.txt")
            assert artifact.run == run == await Run.filter(transform__name=f"{name}.py").one()
            assert (await Artifact.get(artifact.uid)).description == "new"

        return Case(artifact, artifact.save, check)

    return prepare


async def large_artifact(ground: Ground, name: str) -> Case:
    """A file that is copied into the storage while it is hashed."""
    artifact = Artifact(write(ground.folder / f"{name}.txt", f"{name} " * 100), key=f"{name}.txt")
    return Case(artifact, artifact.save, lambda: _is_whole(ground, artifact, key=f"{name}.txt"))


async def artifact_in_place(ground: Ground, name: str) -> Case:
    path = write(Path(ground.instance.root) / f"{name}.txt", name)
    artifact = Artifact(path)
    return Case(artifact, artifact.save, lambda: _is_whole(ground, artifact, key=f"{name}.txt"))


async def artifact_without_key(ground: Ground, name: str) -> Case:
    artifact = Artifact(ground.file(), description=name, on_duplicate="create")
    return Case(artifact, artifact.save, lambda: _is_whole(ground, artifact, description=name))


async def next_version(ground: Ground, name: str) -> Case:
    first = Artifact(ground.file(), key=f"{name}.txt")
    second = Artifact(ground.file(), is_new_version_of=first)

    async def check() -> None:
        await _is_whole(ground, second, key=f"{name}.txt", is_latest=True)
        assert [one.version for one in await first.versions.all()] == ["1", "2"]
        assert not first.is_latest

    return Case(second, second.save, check)


async def frame(ground: Ground, name: str) -> Case:
    artifact = Artifact.from_df(pd.DataFrame({"a": [1], "b": [0.5], "cell": [name]}), key=f"{name}.parquet")

    async def check() -> None:
        await _is_whole(ground, artifact, key=f"{name}.parquet")
        assert {one.name for one in await artifact.features["columns"].all()} == {"a", "b", "cell"}

    return Case(artifact, artifact.save, check)


async def changed(ground: Ground, name: str) -> Case:
    artifact = await Artifact(ground.file(), key=f"{name}.txt").save()
    artifact.description, artifact.version, artifact.key = "changed", "2024", f"{name} changed.txt"

    async def check() -> None:
        await _is_whole(ground, artifact, key=f"{name} changed.txt", version="2024", description="changed")

    return Case(artifact, artifact.save, check)


async def changed_label(ground: Ground, name: str) -> Case:
    label = await ULabel(name).save()
    label.name, label.description = f"{name} changed", "changed"
    return Case(label, label.save, lambda: saved(label, name=f"{name} changed", description="changed"))


async def trashed(ground: Ground, name: str) -> Case:
    artifact = await Artifact(ground.file(), key=f"{name}.txt").save()

    async def trash() -> None:
        if artifact.visibility != inhaul.Visibility.trash:  # a second call would delete it for good
            await artifact.delete()

    return Case(artifact, trash, lambda: _is_whole(ground, artifact, key=f"{name}.txt", visibility=-1))


async def restored(ground: Ground, name: str) -> Case:
    artifact = await Artifact(ground.file(), key=f"{name}.txt").save()
    await artifact.delete()
    return Case(artifact, artifact.restore, lambda: _is_whole(ground, artifact, key=f"{name}.txt", is_latest=True))


def replaced(**options: Any) -> Prepare:
    async def prepare(ground: Ground, name: str) -> Case:
        artifact = await Artifact(ground.file(), key=f"{name}.txt", **options).save()
        other = write(ground.folder / f"{name} other.txt", "other")
        run = Run(Transform(f"{name}.py"))

        async def check() -> None:
            await _is_whole(ground, artifact, key=f"{name}.txt", size=5)
            assert artifact.path.read_text() == "other"
            assert artifact.run == run == (await Artifact.get(artifact.uid)).run

        return Case(artifact, lambda: artifact.replace(other, run=run), check)

    return prepare


async def annotated(ground: Ground, name: str) -> Case:
    artifact = await Artifact(ground.file(), key=f"{name}.txt").save()

    async def check() -> None:
        assert await artifact.features.get_values() == {"a": 7, "cell": ["B", "T"]}

    return Case(artifact, lambda: artifact.features.add_values({"a": 7, "cell": ["B", "T"]}), check)


async def labelled(ground: Ground, name: str) -> Case:
    artifact = await Artifact(ground.file(), key=f"{name}.txt").save()
    return Case(
        artifact, lambda: artifact.labels.add([ground.label]), lambda: _is_whole(ground, artifact, key=f"{name}.txt")
    )


async def several(ground: Ground, name: str) -> Case:
    labels = [ULabel(f"{name} {number}") for number in range(3)]
    files = [Artifact(ground.file(), key=f"{name} {number}.txt") for number in range(3)]

    async def check() -> None:
        for label in labels:
            await saved(label, name=label.name)
        for file in files:
            await _is_whole(ground, file, key=file.key)

    return Case(files[0], lambda: inhaul.save([*labels, *files]), check)


CASES: dict[str, Prepare] = {
    "label": new(lambda name: ULabel(name, "described"), "name"),
    "feature": new(lambda name: Feature(name, "int"), "name"),
    "transform": new(lambda name: Transform(name, "pipeline"), "name"),
    "user": new(User, "handle"),
    "storage": new_storage,
    "run": new_run,
    "feature set": new_feature_set,
    "collection": new_collection,
    "next version of a collection": next_collection,
    "artifact": new_artifact(),
    "large artifact": large_artifact,
    "artifact under a real key": new_artifact(key_is_virtual=False),
    "artifact in place": artifact_in_place,
    "artifact without key": artifact_without_key,
    "next version": next_version,
    "frame": frame,
    "changed": changed,
    "changed label": changed_label,
    "trashed": trashed,
    "restored": restored,
    "replaced": replaced(),
    "replaced under a real key": replaced(key_is_virtual=False),
    "annotated": annotated,
    "labelled": labelled,
    "several": several,
}


async def struck(case: Case, step: int, strike: Callable[[], object]) -> bool:
    """Makes a call that is struck at one of its awaits. Returns whether it came so far."""
    call = Struck(case.call(), step, strike)
    if (error := await call.outcome()) is not None:
        _is_ours(error)
    return call.is_struck


def _is_ours(error: BaseException) -> None:
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            _is_ours(one)
    elif not isinstance(error, InhaulError | asyncio.CancelledError):
        raise error


def chosen(test: str) -> list[tuple[str, Prepare]]:
    """Returns the cases of a test."""
    names = [*CASES] if GAP == 1 else random.Random(test).sample([*CASES], 8)
    return [(name, CASES[name]) for name in names]


@contextmanager
def noted(name: str, place: object) -> Iterator[None]:
    """Says which case failed, and where it had been struck."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"{name}, struck at {place}")
        raise


async def repeated(case: Case) -> None:
    """Repeats a call that has failed, or not, and checks what must hold then."""
    assert repr(case.record)
    await case.call()
    await case.check()


@pytest.mark.parametrize("way", ["cancelled", "cut"])
async def test_a_call_can_be_repeated_wherever_it_was_interrupted(ground: Ground, database_url: str, way: str) -> None:
    rng = random.Random(f"{way} {database_url[:6]}")
    for name, prepare in chosen(f"{way} {database_url[:6]}"):
        step = rng.randint(1, GAP)
        while True:
            with noted(name, step):
                case = await prepare(ground, f"{name} {step}")
                if not await struck(case, step, cancel if way == "cancelled" else ground.breaker.cut):
                    break
                await repeated(case)
            step += rng.randint(1, 2 * GAP - 1)
    await rows_have_objects(database_url)


async def failing(case: Case) -> None:
    """Makes a call that may fail."""
    try:
        await case.call()
    except BaseException as error:
        _is_ours(error)


async def test_a_call_can_be_repeated_whichever_statement_failed(ground: Ground, database_url: str) -> None:
    for name, prepare in chosen(f"statement {database_url[:6]}"):
        for number in range(1, 1000, 1 if GAP == 1 else 7):
            with noted(name, number):
                case = await prepare(ground, f"{name} {number}")
                ground.breaker.break_statement(number)
                await failing(case)
                if not ground.breaker.is_struck:
                    break
                await repeated(case)
        ground.breaker.break_statement(0)
    await rows_have_objects(database_url)


async def test_a_call_can_be_repeated_whichever_commit_failed(ground: Ground, database_url: str) -> None:
    is_server = ground.instance.database.dialect == "postgresql"
    for way in ["refused", *(["cut before", "cut after"] if is_server else [])]:
        for name, prepare in chosen(f"commit {way} {database_url[:6]}"):
            for number in range(1, 100, 1 if GAP == 1 else 3):
                with noted(name, f"commit {number}, {way}"):
                    case = await prepare(ground, f"{name} {number} {way}")
                    ground.breaker.fail_commit(number, way)
                    await failing(case)
                    if not ground.breaker.is_struck:
                        break
                    await repeated(case)
            ground.breaker.fail_commit(0, way)
    await rows_have_objects(database_url)


async def test_a_call_can_be_repeated_after_any_timeout(ground: Ground, database_url: str) -> None:
    rng = random.Random(f"{os.environ.get('SOAK')} {database_url[:6]}")
    seconds = dict.fromkeys(CASES, 0.05)  # that each call takes
    for number in range(1_000 if "SOAK" in os.environ else 20):
        name = rng.choice([*CASES])
        with noted(name, f"timeout {number}"):
            case = await CASES[name](ground, f"{name} after {number}")
            start = monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0, seconds[name])):
                    await case.call()
                seconds[name] = 1.1 * (monotonic() - start)
            await repeated(case)
    await rows_have_objects(database_url)


@pytest.mark.parametrize("kind", [ULabel, Collection, Artifact])
async def test_a_record_knows_that_it_is_deleted_wherever_the_call_was_cancelled(ground: Ground, kind: type) -> None:
    options = {} if kind is ULabel else {"permanent": True}
    make: dict[type, Callable[[str], Any]] = {
        ULabel: ULabel,
        Collection: lambda name: Collection(ground.members, name),
        Artifact: lambda name: Artifact(ground.file(), key=f"{name}.txt"),
    }
    for step in range(1, 1000):
        with noted(kind.__name__, step):
            record = await make[kind](f"struck {step}").save()
            delete = partial(record.delete, **options)
            if not await struck(Case(record, delete, record.delete), step, cancel):
                break
            assert record._is_deleted != await kind.filter(id=record.id).exists()  # type: ignore[attr-defined]
            await delete()
            assert not await kind.filter(id=record.id).exists()  # type: ignore[attr-defined]
            with pytest.raises(NoResultFound):
                await record.save()
    assert step > 5
