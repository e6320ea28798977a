"""Wrong arguments are refused at the call, before anything happens."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from upath import UPath

import inhaul
import inhaul.sync
from inhaul import Artifact, Collection, Feature, FeatureSet, IngestEvent, Run, Storage, Transform, ULabel, User
from inhaul.errors import InvalidKey, WrongWorld
from registries import artifacts, assert_holds
from trees import grow, write


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"key": 5}, TypeError, "key=5"),
        ({"key": b"t.txt"}, TypeError, "key=b't.txt'"),
        ({"key": "../t.txt"}, InvalidKey, "t.txt"),
        ({"description": 5}, TypeError, "description=5"),
        ({"description": "a\0b"}, ValueError, "no database"),
        ({"description": "\udc80"}, ValueError, "no database"),
        ({"version": 2}, TypeError, "version=2"),
        ({"is_new_version_of": "uid"}, TypeError, "is_new_version_of='uid'"),
        ({"run": "today"}, TypeError, "run='today'"),
        ({"run": Transform("t")}, TypeError, "pass a Run"),
        ({"run": 0}, TypeError, "run=0: pass a Run"),
        ({"run": pd.NA}, TypeError, "run=<NA>: pass a Run"),
        ({"run": inhaul.sync.Run(inhaul.sync.Transform("t"))}, WrongWorld, "other API"),
        ({"visibility": "public"}, ValueError, "public"),
        ({"visibility": 7}, ValueError, r"visibility=7: pass one of Visibility.default \(0\)"),
        ({"key_is_virtual": "no"}, TypeError, "key_is_virtual='no'"),
        ({"key_is_virtual": 0}, TypeError, "key_is_virtual=0"),
        ({"on_duplicate": None}, ValueError, "'return', 'create' or 'error'"),
        ({"on_duplicate": ["return"]}, ValueError, "'return', 'create' or 'error'"),
        ({"on_duplicate": pd.NA}, ValueError, "'return', 'create' or 'error'"),
    ],
)
def test_wrong_arguments_of_artifact_are_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        Artifact(tmp_path / "t.txt", **({"key": "t.txt"} | options))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"storage": 3}, "3"),
        ({"storage": b"x"}, "b'x'"),
        ({"storage": "s3://bucket", "local_storage": 3}, "3"),
        ({"db": Path("registry.db")}, "sqlite:///"),
        ({"storage_options": ["key"]}, "storage_options has the wrong type"),
    ],
)
def test_wrong_arguments_of_connect_are_refused(options: dict[str, Any], named: str) -> None:
    before = inhaul.instance.current()
    with pytest.raises(TypeError, match=named):
        inhaul.connect(**options)
    assert inhaul.instance.current() is before


@pytest.mark.parametrize(
    "call",
    [
        lambda: inhaul.verify("storage"),  # type: ignore[arg-type]
        lambda: inhaul.verify(Artifact(__file__, key="a.py")),  # type: ignore[arg-type]
        lambda: inhaul.gc("storage"),  # type: ignore[arg-type]
        lambda: inhaul.testremote(None),  # type: ignore[arg-type]
        lambda: inhaul.testremote(Path("bucket")),  # type: ignore[arg-type]
        lambda: inhaul.measure(3),  # type: ignore[arg-type]
        lambda: inhaul.measure(__file__, storage=b"folder"),  # type: ignore[arg-type]
        lambda: Artifact.filter(is_latest__gt=True).all(),
        lambda: Artifact.filter(is_latest__range=(False, True)).all(),
        lambda: Artifact.filter().df(include=b"x"),  # type: ignore[arg-type]
        lambda: Artifact.filter().df(include=[1]),  # type: ignore[list-item]
        lambda: Artifact.filter().df(include=[None]),  # type: ignore[list-item]
    ],
)
async def test_arguments_of_another_type_are_refused(
    instance: inhaul.Instance, call: Callable[[], Awaitable[object]]
) -> None:
    with pytest.raises(TypeError, match=r"pass a|have no order"):
        await call()


async def test_what_is_no_list_is_refused_where_a_list_is_expected(instance: inhaul.Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "t.txt", "t"), key="t.txt").save()
    for make in (
        lambda: Collection(artifact, "c"),  # type: ignore[arg-type]
        lambda: Collection("ab", "c"),  # type: ignore[arg-type]
        lambda: FeatureSet(Feature("x", dtype="int")),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="pass a list of"):
            make()
    for values in ("label", 5):
        with pytest.raises(TypeError, match="pass a list of names"):
            await ULabel.from_values(values)  # type: ignore[arg-type]


async def test_what_is_no_run_makes_no_collection(instance: inhaul.Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "t.txt", "t"), key="t.txt").save()
    with pytest.raises(TypeError, match="run='x': pass a Run"):
        Collection([artifact], "c", run="x")  # type: ignore[arg-type]
    with pytest.raises(WrongWorld):
        Collection([artifact], "c", run=inhaul.sync.Run(inhaul.sync.Transform("t")))  # type: ignore[arg-type]


async def test_a_storage_moves_to_a_path(instance: inhaul.Instance) -> None:
    storage = await Storage(instance.root).save()
    for new in (5, None, b"x"):
        with pytest.raises(TypeError, match="is not a path"):
            await storage.move(new)  # type: ignore[arg-type]


def test_a_upath_is_a_path_of_an_anndata_or_mudata(instance: inhaul.Instance) -> None:
    for make, name in ((Artifact.from_anndata, "x.h5ad"), (Artifact.from_mudata, "x.h5mu")):
        assert make(UPath(f"s3://bucket/{name}"), key=name).key == name
        with pytest.raises(TypeError, match="or a path, not int"):
            make(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [None, 5, b"key"])
def test_order_by_takes_only_names(field: Any) -> None:
    with pytest.raises(TypeError, match="order_by="):
        Artifact.filter().order_by(field)


@pytest.mark.parametrize("storage", ["storage", 3])
def test_the_blocking_verify_and_gc_take_only_a_storage(tmp_path: Path, storage: Any) -> None:
    with inhaul.sync.connect(tmp_path / "storage"):
        with pytest.raises(TypeError, match="pass a Storage"):
            inhaul.sync.verify(storage)
        inhaul.sync.Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        assert inhaul.sync.verify(inhaul.sync.Storage.filter().one()).ok
        assert inhaul.sync.gc(inhaul.sync.Storage.filter().one()).objects == []


@pytest.mark.parametrize("data", [5, None, b"t.txt", ["t.txt"], {"a": 1}, pd.Series([1])])
def test_data_of_another_type_is_refused(data: Any) -> None:
    with pytest.raises(TypeError):
        Artifact(data, key="t.txt")


async def test_wrong_fields_of_runs_are_refused(instance: inhaul.Instance) -> None:
    run = Run(Transform("t"))
    for value, error, named in (
        (datetime(2020, 1, 1), ValueError, "has no time zone"),
        ("yesterday", TypeError, "finished_at='yesterday'"),
    ):
        with pytest.raises(error, match=named):
            run.finished_at = value
    run.finished_at = datetime(2020, 1, 1, tzinfo=UTC)
    assert (await (await run.save()).get(run.uid)).finished_at == run.finished_at
    for params, error in (
        ({"a": object()}, TypeError),
        ({"a": "\udcff"}, ValueError),
    ):
        with pytest.raises(error, match="cannot be JSON"):
            Run(Transform("t"), params)
    for begin in (inhaul.track, inhaul.sync.track, Run):
        with pytest.raises(TypeError, match="transform='nightly': pass a Transform"):
            await begin("nightly")
    with pytest.raises(WrongWorld):
        await inhaul.track(inhaul.sync.Transform("t"))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Artifact("t.txt", key="t.txt", version="a\0"), ValueError),
        (lambda: Artifact("t.txt", key="t.txt", version="\udcff"), ValueError),
        (lambda: ULabel("a\0"), ValueError),
        (lambda: ULabel(""), ValueError),
        (lambda: ULabel("a", description="\0"), ValueError),
        (lambda: Feature("a\0", "float"), ValueError),
        (lambda: User("\udcff"), ValueError),
        (lambda: Transform(None), TypeError),  # type: ignore[arg-type]
        (lambda: setattr(Transform("t"), "name", "a\0"), ValueError),
        (lambda: Run(Transform("t"), {"a": object()}), TypeError),
        (lambda: Run(Transform("t"), ["a"]), TypeError),  # type: ignore[arg-type]
        (lambda: Artifact.filter().limit(2**70), ValueError),
    ],
)
def test_what_no_database_can_hold_is_refused(make: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


@pytest.mark.parametrize("name", [os.fsdecode(b"bad\xff"), "~nobody-of-this-name/a", "knot", "knot/a"])
async def test_paths_that_lead_nowhere_are_refused(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    (tmp_path / "knot").symlink_to("knot")
    (tmp_path / os.fsdecode(b"bad\xff")).mkdir()
    error = InvalidKey if "bad" in name else OSError
    with pytest.raises(error, match=r"not UTF-8|belongs to no user|form a loop"):
        await Artifact(name, key="a").save()
    with pytest.raises(error, match=r"not UTF-8|belongs to no user|form a loop"):
        await inhaul.ingest(name)
    with pytest.raises(error, match=r"not UTF-8|belongs to no user|form a loop"):
        inhaul.connect(name)


async def test_a_folder_with_a_name_that_is_no_key_is_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    write(tmp_path / "folder" / os.fsdecode(b"bad\xff"), b"x")
    with pytest.raises(InvalidKey, match="bad"):
        await Artifact(tmp_path / "folder", key="folder").save()
    assert await Artifact.filter().all() == []


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_empty_paths_and_nul_characters_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Artifact(path, key="t.txt")
    with pytest.raises(ValueError, match="path"):
        Artifact.from_dir(path)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"key": 5}, TypeError, "key=5"),
        ({"key": "/abs"}, InvalidKey, "/abs"),
        ({"run": "today"}, TypeError, "run='today'"),
        ({"duplicates": "some"}, ValueError, "'keep' or 'drop'"),
        ({"errors": True}, ValueError, "'report' or 'raise'"),
        ({"follow_symlinks": "yes"}, TypeError, "follow_symlinks='yes'"),
        ({"exclude": "*.tmp"}, TypeError, "list of patterns"),
        ({"exclude": {"*.tmp"}}, TypeError, "list of patterns"),
        ({"exclude": [5]}, TypeError, "5"),
        ({"exclude": ["*.tmp", "a{b"]}, ValueError, "a{b"),
        ({"exclude": ["a[z-a]"]}, ValueError, "z-a"),
    ],
)
async def test_wrong_arguments_for_folders_are_refused(
    instance: inhaul.Instance, tmp_path: Path, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(error, match=named):
        Artifact.from_dir(tmp_path / "tree", **options)
    with pytest.raises(error, match=named):
        await inhaul.ingest(tmp_path / "tree", **options)
    with pytest.raises(TypeError, match="not a path"):
        Artifact.from_dir(5)
    assert not Path(instance.root).exists()


async def test_runs_of_the_other_api_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = inhaul.sync.Run(inhaul.sync.Transform("t"))
    with pytest.raises(WrongWorld):
        Artifact.from_dir(tmp_path, run=run)


async def test_wrong_arguments_of_verbs_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "t.txt", "1"), key="t.txt").save()
    with pytest.raises(TypeError, match="permanent='yes'"):
        await artifact.delete(permanent="yes")
    with pytest.raises(TypeError, match="storage=1"):
        await artifact.delete(permanent=True, storage=1)
    with pytest.raises(TypeError, match="upload='yes'"):
        await artifact.save(upload="yes")
    with pytest.raises(TypeError, match="description=5"):
        artifact.description = 5
    with pytest.raises(TypeError, match="key=5"):
        artifact.key = 5
    with pytest.raises(ValueError, match="9"):
        artifact.visibility = 9
    assert (await Artifact.get(artifact.uid)).description is None


async def test_no_run_for_a_folder_that_is_not_there(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = Run(Transform("import"))
    with pytest.raises(FileNotFoundError):
        await inhaul.ingest(tmp_path / "none", run=run)
    for call in (lambda: Artifact.from_dir(tmp_path / "none", run=run).save(),):
        with pytest.raises(FileNotFoundError):
            await call()
    with pytest.raises(FileNotFoundError):
        await Artifact(tmp_path / "none", run=run).save()
    assert await Run.objects.count() == 0
    assert await Transform.objects.count() == 0


async def test_ages_are_lengths_of_time(instance: inhaul.Instance) -> None:
    """Other values are refused before any work begins."""
    for call in (lambda age: inhaul.gc(older_than=age), lambda age: inhaul.verify(max_age=age)):
        for wrong, error in (
            (5, TypeError),
            ("1d", TypeError),
            (timedelta(-1), ValueError),
            (timedelta.max, ValueError),
        ):
            with pytest.raises(error, match=r"(older_than|max_age)=.*: pass (a timedelta, such as|0 to 36500 days)"):
                await call(wrong)
    with pytest.raises(TypeError, match="delete='yes': pass True or False"):
        await inhaul.gc(delete="yes")  # type: ignore[arg-type]


async def test_on_event_is_a_plain_function(instance: inhaul.Instance, tmp_path: Path) -> None:
    async def show(event: IngestEvent) -> None:
        """Nobody would await it."""

    class Show:
        async def __call__(self, event: IngestEvent) -> None:
            """Nobody would await it."""

    for on_event in (show, Show(), partial(show), 5):
        with pytest.raises(TypeError, match="on_event"):
            await inhaul.ingest(tmp_path, on_event=on_event)


async def test_what_on_event_raises_ends_the_ingest(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(grow, tmp_path / "tree", 9_000, largest=16)
    url = f"sqlite:///{instance.root}/.inhaul/registry.db"
    before = asyncio.all_tasks()
    monkeypatch.setattr(inhaul.settings, "durability", "process")

    def fail(event: IngestEvent) -> None:
        raise LookupError("the progress bar is broken")

    with pytest.raises(LookupError, match="progress bar"):
        await inhaul.ingest(tmp_path / "tree", on_event=fail)
    assert asyncio.all_tasks() == before
    kept = {row["key"]: row["uid"] for row in await artifacts(url)}
    assert len(list(Path(instance.root).glob(".inhaul/sessions/*"))) == 1

    await inhaul.ingest(tmp_path / "tree")
    latest = await assert_holds(url, Path(instance.root), tmp_path / "tree")
    assert kept.items() <= {key: row["uid"] for key, row in latest.items()}.items()


@pytest.mark.parametrize(
    ("lookup", "error"),
    [
        ({"key": 5}, TypeError),
        ({"key__contains": None}, TypeError),
        ({"key__in": "abc"}, TypeError),
        ({"key__in": [1]}, TypeError),
        ({"key": "a\0b"}, ValueError),
        ({"size": "5"}, TypeError),
        ({"size__gt": 1.5}, TypeError),
        ({"size__gt": None}, TypeError),
        ({"size__contains": "5"}, TypeError),
        ({"size": 2**63}, ValueError),
        ({"size__range": 5}, TypeError),
        ({"size__range": (1, 2, 3)}, ValueError),
        ({"key__isnull": "no"}, TypeError),
        ({"is_latest": 1}, TypeError),
        ({"created_at__gt": "2024-01-01"}, TypeError),
        ({"created_at__gt": datetime(2024, 1, 1)}, ValueError),
        ({"run__started_at__lt": 5}, TypeError),
    ],
)
def test_wrong_lookups_are_refused(instance: inhaul.Instance, lookup: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Artifact.filter(**lookup)


async def test_wrong_arguments_of_query_sets_are_refused(instance: inhaul.Instance) -> None:
    for wrong in ("3", 1.5, True):
        with pytest.raises(TypeError):
            Artifact.objects.limit(wrong)
        with pytest.raises(TypeError):
            Artifact.objects[:wrong]
    with pytest.raises(TypeError):
        Artifact.objects.order_by(5)
    with pytest.raises(TypeError):
        await Artifact.get(5.0)
