"""Query sets: lookups, verbs, windows."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete

import inhaul
from inhaul import Artifact, Feature, FeatureSet, QuerySet, Run, Storage, Transform, ULabel, User, Visibility
from inhaul.db import tables
from inhaul.errors import MultipleResultsFound, NoResultFound, UnknownField, UnsupportedStorage

TEXTS = {"in/a.csv": "1", "in/B.csv": "22", "in/c%_x.txt": "333", "out/d.txt": "", "out/e": "55555"}


@pytest.fixture(autouse=True)
async def _artifacts(instance: inhaul.Instance, tmp_path: Path) -> None:
    """Saves a few artifacts, all but one with a run."""
    run = await Run(Transform("import")).save()
    for key, text in TEXTS.items():
        path = tmp_path / "src" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        await Artifact(path, key=key, description=key.upper() if text else None, run=run if text else None).save()


LOOKUPS: list[tuple[dict[str, object], list[str]]] = [
    ({"key": "in/a.csv"}, ["in/a.csv"]),
    ({"key__exact": "in/A.csv"}, []),
    ({"key__iexact": "in/b.CSV"}, ["in/B.csv"]),
    ({"key__contains": "B"}, ["in/B.csv"]),
    ({"key__contains": "%_"}, ["in/c%_x.txt"]),
    ({"key__contains": ""}, list(TEXTS)),
    ({"description__contains": ""}, [key for key, text in TEXTS.items() if text]),
    ({"key__icontains": "b.c"}, ["in/B.csv"]),
    ({"key__icontains": "%"}, ["in/c%_x.txt"]),
    ({"key__startswith": "in/"}, ["in/a.csv", "in/B.csv", "in/c%_x.txt"]),
    ({"key__startswith": "IN/"}, []),
    ({"key__endswith": ".txt"}, ["in/c%_x.txt", "out/d.txt"]),
    ({"key__endswith": "a longer text than any key"}, []),
    ({"key__in": ["out/e", "none"]}, ["out/e"]),
    ({"size": 2}, ["in/B.csv"]),
    ({"size__gt": 2, "size__lt": 5}, ["in/c%_x.txt"]),
    ({"size__gte": 2, "size__lte": 3}, ["in/B.csv", "in/c%_x.txt"]),
    ({"size__range": (1, 2)}, ["in/a.csv", "in/B.csv"]),
    ({"description": None}, ["out/d.txt"]),
    ({"description__isnull": False, "suffix": ""}, ["out/e"]),
    ({"run__isnull": True}, ["out/d.txt"]),
    ({"run__transform__name": "import", "suffix": ".csv"}, ["in/a.csv", "in/B.csv"]),
    ({"transform__name__startswith": "imp", "suffix": ""}, ["out/e"]),
    ({"created_by__handle__in": ["nobody"]}, []),
    ({"storage__type": "local", "suffix": ".txt"}, ["in/c%_x.txt", "out/d.txt"]),
    ({"created_at__gt": datetime.now(UTC) + timedelta(hours=1)}, []),
]


async def test_each_lookup_finds_what_it_says(instance: inhaul.Instance) -> None:
    for lookups, keys in LOOKUPS:
        assert [artifact.key for artifact in await Artifact.filter(**lookups).all()] == keys, lookups


async def test_all_alphabets_have_cases(instance: inhaul.Instance) -> None:
    school, label = await ULabel("École de Genève").save(), await ULabel("100%_ЖУК / ΣΟΦΟΣ").save()
    artifact = await Artifact.filter(key="in/a.csv").one()
    artifact.key = "in/Ärzte.csv"
    await artifact.save()
    for name in ("École de Genève", "ÉCOLE DE GENÈVE"):
        assert await ULabel.filter(name__iexact=name).all() == [school]
        assert await ULabel.search(name).all() == [school]
    assert await ULabel.filter(name__icontains="genÈve").all() == [school]
    assert await ULabel.filter(name__icontains="%_жук / σοφο").all() == [label]
    assert await ULabel.filter(name__icontains="%жук").all() == []
    assert await ULabel.search("жук /").all() == [label]
    assert await Artifact.filter(key__iexact="IN/ärzte.CSV").all() == [artifact]
    assert await Artifact.search("ÄRZTE").all() == [artifact]
    assert await Artifact.filter(key__contains="ärzte").all() == []


async def test_both_databases_have_the_same_cases(instance: inhaul.Instance) -> None:
    letters = [*filter(str.isalpha, map(chr, range(0x500))), "\u212a", "\u1e9e"]
    await inhaul.save([ULabel(letter) for letter in letters])
    for letter in "İISKÅΣςßЖ":
        found = {label.name for label in await ULabel.filter(name__iexact=letter).all()}
        assert found == {other for other in letters if other.lower()[0] == letter.lower()[0]}, letter


async def test_artifacts_are_found_by_record(instance: inhaul.Instance) -> None:
    storage, user, run = await Storage.filter().one(), await User.filter().one(), await Run.filter().one()
    assert await Artifact.filter(storage=storage, created_by=user, run=run).count() == 4
    assert await Artifact.filter(run=None).count() == 1
    with pytest.raises(TypeError, match=r"pass an? [A-Z]"):
        Artifact.filter(run=storage)
    with pytest.raises(ValueError, match="not saved"):
        Artifact.filter(run=Run(Transform("x")))


async def test_relations_are_looked_up_by_records_and_queries(instance: inhaul.Instance) -> None:
    run, storage, user = await Run.filter().one(), await Storage.filter().one(), await User.filter().one()
    assert await Artifact.filter(transform=run.transform).count() == 4
    assert await Artifact.filter(run__in=[run]).count() == await Artifact.filter(run__in=Run.filter()).count() == 4
    assert await Artifact.filter(run__in=[]).count() == 0
    assert await Artifact.filter(run__in=Run.filter(transform__name="other")).count() == 0
    assert await Artifact.filter(transform__in=[run.transform], created_by__in={user}).count() == 4
    assert await Artifact.filter(storage__in=(storage,)).count() == 5
    assert await Run.filter(transform__in=Transform.filter(name="import")).all() == [run]


async def test_records_without_a_related_one_are_found(instance: inhaul.Instance) -> None:
    free = [await Artifact.filter(key="out/d.txt").one()]
    assert await Artifact.filter(transform=None).all() == await Artifact.filter(transform__isnull=True).all() == free
    assert await Artifact.filter(transform__isnull=False, run__isnull=False).count() == 4


async def test_what_no_relation_can_be_looked_up_by_is_refused(instance: inhaul.Instance) -> None:
    storage = await Storage.filter().one()
    with pytest.raises(TypeError, match=r"pass an? [A-Z]"):
        Artifact.filter(run__in=[storage])
    for name in ("run__in", "ulabels__in"):
        with pytest.raises(TypeError, match=f"{name}=5: pass a list"):
            Artifact.filter(**{name: 5})
    for name in ("run__isnull", "transform__isnull", "ulabels__isnull"):
        with pytest.raises(TypeError, match=f"{name}=None: pass True or False"):
            Artifact.filter(**{name: None})


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        ("colour", "Artifact has no field 'colour'. It has accessor, created_at"),
        ("run__colour", "Run has no field 'colour'"),
        ("size__above", "'above' is not an operator. Use one of exact"),
        ("size__gt__lt", "is not an operator"),
        ("_size", "no field"),
    ],
)
async def test_unknown_lookups_list_what_there_is(instance: inhaul.Instance, lookup: str, message: str) -> None:
    with pytest.raises(UnknownField, match=message):
        Artifact.filter(**{lookup: 1})


async def test_count_and_exists_tell_what_a_query_finds(instance: inhaul.Instance) -> None:
    everything = Artifact.filter()
    assert await everything.count() == len(TEXTS)
    assert await everything.exists()
    assert not await Artifact.filter(key="none").exists()
    assert await Artifact.filter(key="none").count() == 0


async def test_first_and_one_return_what_a_query_finds(instance: inhaul.Instance) -> None:
    everything = Artifact.filter()
    assert (await everything.first()).key == "in/a.csv"
    assert await Artifact.filter(key="none").first() is None
    assert await Artifact.filter(key="none").one_or_none() is None
    assert (await Artifact.filter(key="out/e").one_or_none()).size == 5
    with pytest.raises(NoResultFound, match="QuerySet"):
        await Artifact.filter(key="none").one()
    with pytest.raises(MultipleResultsFound):
        await everything.one()
    with pytest.raises(MultipleResultsFound):
        await everything.one_or_none()


async def test_a_record_is_got_by_its_id_or_uid(instance: inhaul.Instance) -> None:
    first = await Artifact.filter().first()
    assert await Artifact.get(first.id) == await Artifact.get(first.uid) == first
    assert await Artifact.get((await Artifact.filter(uid=first.uid).df()).index[0]) == first
    with pytest.raises(NoResultFound, match="0000"):
        await Artifact.get("0000")


async def test_query_sets_are_sliced(instance: inhaul.Instance) -> None:
    by_size = Artifact.filter().order_by("-size")
    assert [a.size for a in await by_size.all()] == [5, 3, 2, 1, 0]
    assert [a.size for a in await by_size.limit(2).all()] == [5, 3]
    assert [a.size for a in await by_size[1:3].all()] == [3, 2]
    assert [a.size for a in await by_size[1:][1:2].all()] == [2]
    assert [a.size for a in await by_size[:3][2:9].all()] == [2]
    assert await by_size[3:].count() == 2
    assert await by_size[2:2].all() == []
    with pytest.raises(ValueError, match="positive"):
        by_size[-1:]
    with pytest.raises(TypeError, match="slices only"):
        by_size[0]


async def test_query_sets_are_ordered_by_one_field_after_the_other(instance: inhaul.Instance) -> None:
    ordered = await Artifact.filter().order_by("suffix", "-key").all()
    assert [a.key for a in ordered] == sorted(sorted(TEXTS, reverse=True), key=lambda key: Path(key).suffix)
    with pytest.raises(UnknownField, match="to order by"):
        Artifact.filter().order_by("colour")


@pytest.mark.parametrize("sliced", [lambda query: query[:2], lambda query: query[1:], lambda query: query.limit(3)])
async def test_slices_stay_as_they_are(
    instance: inhaul.Instance, sliced: Callable[[QuerySet[Artifact]], QuerySet[Artifact]]
) -> None:
    some = sliced(Artifact.filter().order_by("key"))
    for change in (
        lambda: some.filter(key="out/e"),
        lambda: some.order_by("-key"),
        lambda: some.search("out"),
        some.latest_version,
    ):
        with pytest.raises(TypeError, match="do that first, then slice"):
            change()
    assert await some[:1].count() == 1
    assert await Artifact.filter()[:].filter(key="out/e").count() == 1
    assert await Run.filter(inputs__in=some).count() == 0


async def test_filters_chain_and_query_sets_do_not_change(instance: inhaul.Instance) -> None:
    csv = Artifact.filter(suffix=".csv")
    assert await csv.filter(size=1).count() == 1
    assert await csv.count() == 2


async def test_async_for_goes_on_after_a_chunk(instance: inhaul.Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inhaul.registry.queries.query_set._CHUNK", 2)
    keys = [artifact.key async for artifact in Artifact.filter().order_by("key")]
    assert keys == sorted(TEXTS)


async def test_async_for_yields_every_record_and_may_stop(instance: inhaul.Instance) -> None:
    keys = [artifact.key async for artifact in Artifact.filter().order_by("key")]
    assert keys == sorted(TEXTS)
    async for artifact in Artifact.filter():
        assert artifact.storage.root == instance.root
        break
    assert await Artifact.filter().exists()


async def test_df_has_every_column(instance: inhaul.Instance) -> None:
    table = await Artifact.filter(suffix=".csv").order_by("-size").df()
    assert table.index.name == "id"
    assert list(table["key"]) == ["in/B.csv", "in/a.csv"]
    assert {"uid", "version", "hash", "created_by_id", "updated_at"} <= set(table.columns)
    assert len(await Artifact.filter(key="none").df()) == 0


async def test_what_is_hidden_shows_only_on_request(instance: inhaul.Instance) -> None:
    artifact = await Artifact.filter(key="out/e").one()
    artifact.visibility = Visibility.hidden
    await artifact.save()
    assert await Artifact.filter(key="out/e").count() == 0
    assert await Artifact.filter(key="out/e", visibility=Visibility.hidden).count() == 1
    assert await Artifact.filter(key="out/e", visibility=None).count() == 1
    assert await Artifact.filter(uid=artifact.uid).one() == artifact
    assert await Artifact.filter(id=artifact.id).one() == artifact
    assert await Artifact.get(artifact.uid) == artifact
    assert await Artifact.objects.count() == len(TEXTS)


async def test_records_of_other_registries_are_saved_and_changed(instance: inhaul.Instance, tmp_path: Path) -> None:
    transform = await Transform("clean", type="pipeline").save()
    transform.name = "clean up"
    await transform.save()
    assert (await Transform.get(transform.uid)).name == "clean up"
    assert transform.updated_at > transform.created_at
    with pytest.raises(ValueError, match="not a type of transform"):
        Transform("x", type="magic")

    root = await Storage(tmp_path / "other").save()
    assert (root.type, root.region, root.created_by.handle) == ("local", None, inhaul.settings.user)
    assert (await Storage(tmp_path / "other").save()).uid == root.uid
    with pytest.raises(UnsupportedStorage, match="ftp://"):
        Storage("ftp://bucket")
    assert await User.filter(handle="nobody").count() == 0
    assert (await User("nobody").save()).id


async def test_whole_floats_are_whole_numbers(instance: inhaul.Instance) -> None:
    async def keys(**lookups: object) -> list[str | None]:
        return [artifact.key for artifact in await Artifact.filter(**lookups).order_by("id").all()]

    small = [key for key, text in TEXTS.items() if len(text) < 3]
    assert await keys(size__lt=3e0) == await keys(size__lte=np.float64(2)) == small
    assert await keys(size__in=[1.0, np.float32(5), 2]) == ["in/a.csv", "in/B.csv", "out/e"]
    assert (
        await keys(size__in=pd.Series([1.0, 5.0])) == await keys(size__in=np.array([1.0, 5.0])) == ["in/a.csv", "out/e"]
    )
    assert await keys(size__range=(1.0, np.float64(2))) == ["in/a.csv", "in/B.csv"]
    assert await keys(size=1e0, visibility=0.0, run__id__gte=1.0) == ["in/a.csv"]
    assert await keys(size__gt=1e4) == []
    for refused in (1.5, float("nan"), float("inf"), np.float64(0.5), True):
        with pytest.raises(TypeError, match="is not"):
            Artifact.filter(size__lt=refused)
        with pytest.raises(TypeError, match="is not"):
            Artifact.filter(size__in=[1, refused])
    with pytest.raises(ValueError, match="too large for a database"):
        Artifact.filter(size__lt=1e30)


async def test_whole_numbers_are_floats_where_a_field_is_one(instance: inhaul.Instance) -> None:
    await Feature("dose", "float").save()
    await (await Artifact.filter(key="in/a.csv").one()).features.add_values({"dose": [1, 2.5]})
    assert await inhaul.FeatureValue.filter(number__gt=2).count() == 1
    assert await inhaul.FeatureValue.filter(number__in=[1, np.int64(3)]).count() == 1


async def test_times_of_numpy_and_pandas_are_times_in_utc(instance: inhaul.Instance) -> None:
    for long_ago in (np.datetime64("2001-01-01"), np.datetime64("2001-01-01", "ns"), pd.Timestamp("2001-01-01")):
        assert await Artifact.filter(created_at__gt=long_ago).count() == len(TEXTS)
        assert await Artifact.filter(created_at__lt=long_ago).count() == 0
    with pytest.raises(TypeError, match="is not"):
        Artifact.filter(created_at__gt=np.datetime64("NaT", "us"))


async def test_integers_of_numpy_are_integers(instance: inhaul.Instance) -> None:
    table = await Artifact.filter().order_by("key").df()
    ids = table.index[:2]
    first = await Artifact.filter(id=ids[0]).one()
    assert (first.key, first.id) == (table["key"].iloc[0], ids[0])
    assert await Artifact.filter(id__in=ids).count() == 2
    assert await Artifact.filter(id__range=(np.int32(1), ids.max()), size__gte=np.int64(0)).exists()
    by_key = Artifact.filter().order_by("key")
    assert await by_key[np.int64(0) : np.int64(1)].all() == await by_key.limit(np.int8(1)).all() == [first]
    with pytest.raises(TypeError, match="not a number of records"):
        by_key[np.True_ :]
    with pytest.raises(TypeError, match="is not"):
        Artifact.filter(id=np.float64(1.5))


async def test_times_that_are_not_in_utc_years_are_refused(instance: inhaul.Instance) -> None:
    for hours, time in ((2, datetime.min), (-2, datetime.max)):
        with pytest.raises(ValueError, match=r"in UTC within the years .* such as datetime.now"):
            Artifact.filter(created_at__gt=time.replace(tzinfo=timezone(timedelta(hours=hours))))
    with pytest.raises(ValueError, match="a datetime with a time zone"):
        Artifact.filter(created_at=datetime.now())
    assert await Artifact.filter(created_at__gt=datetime.min.replace(tzinfo=UTC)).exists()
    assert not await Artifact.filter(created_at__gt=datetime.max.replace(tzinfo=UTC)).exists()


async def test_a_query_set_is_neither_true_nor_false(instance: inhaul.Instance) -> None:
    with pytest.raises(TypeError, match="use exists"):
        bool(Artifact.filter(key="none"))


async def test_only_texts_can_be_searched_for(instance: inhaul.Instance) -> None:
    for text, error in ((None, TypeError), (5, TypeError), ("\udce9", ValueError)):
        with pytest.raises(error, match="search"):
            Artifact.search(text)
    assert await Artifact.search("").count() == len(TEXTS)
    for registry in (Run, FeatureSet):
        with pytest.raises(TypeError, match="has no text to search"):
            registry.search("x")


async def test_equality_is_by_uid(instance: inhaul.Instance) -> None:
    one, two = await Artifact.filter(key="out/e").one(), await Artifact.filter(key="out/e").one()
    assert one == two
    assert one is not two
    assert len({one, two}) == 1
    assert one != await Artifact.filter(key="in/a.csv").one()
    assert one != one.uid


async def test_many_iterations_hold_up_nobody(instance: inhaul.Instance, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        iterations = [
            await stack.enter_async_context(aclosing(aiter(Artifact.filter().order_by("key")))) for _ in range(20)
        ]
        async with asyncio.timeout(20):
            begun = [(await anext(iteration)).key for iteration in iterations]
            (tmp_path / "late.txt").write_text("late")
            await Artifact(tmp_path / "late.txt", key="late.txt").save()
            assert await Artifact.filter().count() == len(TEXTS) + 1
        rest = [[artifact.key async for artifact in iteration] for iteration in iterations]
    assert begun == ["in/B.csv"] * 20
    assert rest == [sorted(TEXTS)[1:]] * 20  # the artifacts that existed when the iterations began


async def test_json_is_not_compared(instance: inhaul.Instance) -> None:
    """PostgreSQL cannot, so it is not done on SQLite either."""
    for lookups in ({"params": {"a": 1}}, {"params__in": [{"a": 1}]}, {"params__gt": {}}):
        with pytest.raises(TypeError, match="databases do not compare JSON"):
            Run.filter(**lookups)
    assert await Run.filter(params__isnull=True).count() == await Run.filter(params=None).count()
    with pytest.raises(TypeError, match="'-params' is JSON, which has no order"):
        Run.filter().order_by("-params")


async def test_a_search_has_an_end(instance: inhaul.Instance) -> None:
    assert await Artifact.search("c " * 100).count() == 3
    with pytest.raises(ValueError, match="up to 100 words, and this text has 3,000"):
        Artifact.search("a " * 3000)


async def test_nothing_is_made_by_a_run_that_is_gone(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = await Run(Transform("gone")).save()
    async with instance.database.write() as conn:
        await conn.execute(delete(tables.run).where(tables.run.c.id == run.id))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "new.txt").write_text("new")
    for save in (Artifact(folder / "new.txt", key="new.txt", run=run).save, Artifact.from_dir(folder, run=run).save):
        with pytest.raises(NoResultFound, match="refers to has been deleted"):
            await save()
    assert await Artifact.filter(key__endswith="new.txt").count() == 0
