"""Features, values, labels: added, read back, removed, and found by."""

import asyncio
import math
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import inhaul
from inhaul import Artifact, Collection, Feature, FeatureSet, ULabel, annotate
from inhaul.errors import KeyExists, NoResultFound, UnknownField, ValidationError
from inhaul.registry import dtypes

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
async def instance(tmp_path: Path, database_url: str) -> AsyncIterator[inhaul.Instance]:
    instance = inhaul.connect(storage=tmp_path / "storage", db=database_url)
    yield instance
    await instance.aclose()


@pytest.fixture
async def artifacts(instance: inhaul.Instance, tmp_path: Path) -> list[Artifact]:
    folder = tmp_path / "plates"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(str(number))
    return list(await Artifact.from_dir(folder).save())


async def features(**dtype_of: str) -> dict[str, Feature]:
    return {name: await Feature(name, dtype).save() for name, dtype in dtype_of.items()}


async def values_in(instance: inhaul.Instance) -> int:
    return await inhaul.FeatureValue.filter().count()


KEPT = [
    ("int", 2**63 - 1),
    ("int", -3),
    ("float", 21.5),
    ("float", 1e300),
    ("number", 3),
    ("number", -1e22),
    ("bool", True),
    ("bool", False),
    ("str", '37 °C, "quoted", \\, \''),
    ("str", ""),
    ("datetime", NOON),
    ("cat", "control"),
]


async def test_values_come_back_as_they_were(artifacts: list[Artifact]) -> None:
    await features(**{f"x{number}": dtype for number, (dtype, _) in enumerate(KEPT)})
    values = {f"x{number}": value for number, (_, value) in enumerate(KEPT)}
    await artifacts[0].features.add_values(values)
    kept = await artifacts[0].features.get_values()
    assert kept == values
    assert {name: type(value) for name, value in kept.items()} == {name: type(values[name]) for name in values}
    for name, value in values.items():
        assert await Artifact.features.filter(**{name: value}).all() == [artifacts[0]], name


@example(value=2**53 + 1)  # of which a float keeps another number
@example(value=10**400)
@given(value=st.integers() | st.floats() | st.booleans() | st.text() | st.datetimes(timezones=st.timezones()))
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    for dtype in dtypes.NAMES:
        encoded = dtypes.encode(dtype, value)
        if encoded is not None:
            # In an hour that comes twice, times of two zones are never equal.
            same = value.astimezone(UTC) if isinstance(value, datetime) else value
            assert dtypes.decode(dtype, encoded.text) == same
            assert dtypes.encode(dtype, dtypes.decode(dtype, encoded.text)) == encoded


async def test_several_values_are_a_list(artifacts: list[Artifact]) -> None:
    await features(dose="float", well="str")
    manager = artifacts[0].features
    await manager.add_values({"dose": [1, 2.5], "well": "A1"})
    await manager.add_values({"dose": 1.0})
    assert await manager.get_values() == {"dose": [1.0, 2.5], "well": "A1"}
    await manager.remove_values("dose")
    assert await manager.get_values() == {"well": "A1"}
    await manager.remove_values(["well", "dose", "unknown"])
    assert await manager.get_values() == {}
    assert await artifacts[1].features.get_values() == {}


async def test_scalars_of_numpy_are_values(artifacts: list[Artifact]) -> None:
    await features(n="int", x="float", ok="bool")
    await artifacts[0].features.add_values({"n": np.int32(3), "x": np.float32(0.5), "ok": np.bool_(True)})
    assert await artifacts[0].features.get_values() == {"n": 3, "x": 0.5, "ok": True}


TABLE = pd.DataFrame(
    {
        "n": [3, 1, 3],
        "x": [0.5, 1.0, 0.5],
        "ok": [True, True, False],
        "name": ["b", "a", "b"],
        "kind": pd.Categorical(["b", "a", "b"]),
        "when": pd.to_datetime(["2024-05-01 12:00", "2024-05-02 00:00", "2024-05-01 12:00"]),
    }
)
DTYPES = {"n": "int", "x": "float", "ok": "bool", "name": "str", "kind": "cat", "when": "datetime"}
GIVEN: dict[str, Callable[[Any], Any]] = {
    "unique": lambda series: series.unique(),
    "series": lambda series: series,
    "index": pd.Index,
    "array": lambda series: series.array,
    "numpy": lambda series: series.to_numpy(),
    "objects": lambda series: series.astype(object).to_numpy(),
    "tuple": tuple,
    "set": set,
    "dict keys": lambda series: dict.fromkeys(series).keys(),
    "iterator": iter,
    "first": lambda series: series.iloc[0],
}


@pytest.mark.parametrize("form", GIVEN)
async def test_columns_of_tables_are_values(artifacts: list[Artifact], form: str) -> None:
    await features(**DTYPES)
    await artifacts[0].features.add_values({name: GIVEN[form](TABLE[name]) for name in DTYPES})
    found = await artifacts[0].features.get_values()
    times = [NOON, datetime(2024, 5, 2, tzinfo=UTC)]
    expected = {
        "n": [1, 3],
        "x": [0.5, 1.0],
        "ok": [False, True],
        "name": ["a", "b"],
        "kind": ["a", "b"],
        "when": times,
    }
    if form == "first":
        assert found == {"n": 3, "x": 0.5, "ok": True, "name": "b", "kind": "b", "when": NOON}
    else:
        assert {name: sorted(values) for name, values in found.items()} == expected
    assert await Artifact.features.filter(n__in=TABLE.n.unique(), name__in=TABLE.name, when=TABLE.when[0]).count() == 1


async def test_a_column_of_labels_is_values(artifacts: list[Artifact]) -> None:
    await features(tissue="cat[ULabel]")
    labels = [await ULabel(name).save() for name in "ab"]
    await artifacts[0].features.add_values({"tissue": TABLE["kind"].unique()})
    await artifacts[1].features.add_values({"tissue": {*labels}})
    assert (
        await artifacts[0].features.get_values() == await artifacts[1].features.get_values() == {"tissue": ["a", "b"]}
    )


async def test_one_dict_with_an_iterator_is_for_all_artifacts(artifacts: list[Artifact]) -> None:
    await features(n="int")
    await annotate(artifacts, {"n": (number for number in (1, 2))})
    assert [await artifact.features.get_values() for artifact in artifacts] == [{"n": [1, 2]}] * 4


TIMES = [
    (np.datetime64("2024-05-01T12:00", "ns"), NOON),
    (np.datetime64("2024-05-01T12:00:00"), NOON),
    (np.datetime64("2024-05-01"), NOON.replace(hour=0)),
    (pd.Timestamp("2024-05-01 12:00"), NOON),
    (pd.Timestamp("2024-05-01 14:00", tz="Europe/Berlin"), NOON),
]


async def test_times_of_numpy_and_pandas_are_values(artifacts: list[Artifact]) -> None:
    await features(when="datetime")
    for value, kept in TIMES:
        await artifacts[0].features.add_values({"when": value})
        assert await artifacts[0].features.get_values() == {"when": kept}
        assert await Artifact.features.filter(when=value).count() == 1
        await artifacts[0].features.remove_values("when")


class Grade(int, Enum):
    GOOD = 1


async def test_members_of_enumerations_are_values(artifacts: list[Artifact]) -> None:
    await features(grade="int", any="number")
    await artifacts[0].features.add_values({"grade": Grade.GOOD, "any": Grade.GOOD})
    assert await artifacts[0].features.get_values() == {"grade": 1, "any": 1}
    assert await Artifact.features.filter(grade=Grade.GOOD).count() == 1


async def test_unregistered_features_are_refused(artifacts: list[Artifact], instance: inhaul.Instance) -> None:
    await features(dose="float")
    with pytest.raises(ValidationError, match=r"(?s)'well'.*await Feature\(name='well', dtype='str'\)\.save\(\)"):
        await artifacts[0].features.add_values({"dose": 1.0, "well": "A1"})
    assert await values_in(instance) == 0
    assert await artifacts[0].features.get_values() == {}


REFUSED = [
    ("int", 1.0),
    ("int", True),
    ("int", 2**63),
    ("float", "1"),
    ("float", float("nan")),
    ("number", float("inf")),
    ("bool", 1),
    ("str", 1),
    ("str", "x" * 1001),
    ("str", "caf\udce9.txt"),
    ("cat", "x\0y"),
    ("datetime", "2024-05-01"),
    ("datetime", datetime(2024, 5, 1)),
    ("datetime", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))),
    ("datetime", datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))),
    ("datetime", np.datetime64("NaT", "us")),
    ("datetime", np.datetime64("2024-05-01T12:00:00.000000001")),
    ("datetime", pd.Timestamp("2024-05-01 12:00:00.000000001", tz="UTC")),
    ("datetime", pd.NaT),
    ("int", np.float64(1)),
    ("int", np.True_),
    ("bool", np.int64(1)),
    ("float", np.array([1.5, np.nan])),
    ("float", np.ones((2, 2))),
    ("float", pd.DataFrame({"x": [1.0]})),
    ("str", pd.Series(["a", None])),
    ("str", {"a": "b"}),
    ("cat", None),
    ("cat[ULabel]", 5),
]


async def test_values_of_another_dtype_are_refused(artifacts: list[Artifact], instance: inhaul.Instance) -> None:
    await features(well="str", **{f"x{number}": dtype for number, (dtype, _) in enumerate(REFUSED)})
    for number, (_, value) in enumerate(REFUSED):
        with pytest.raises(ValidationError, match=f"(?s)x{number}=.*the feature takes"):
            await artifacts[0].features.add_values({"well": "A1", f"x{number}": value})
    assert await values_in(instance) == 0


async def test_values_may_be_labels(artifacts: list[Artifact]) -> None:
    tissue = (await features(tissue="cat[ULabel]"))["tissue"]
    lung, liver = await ULabel("lung").save(), await ULabel("liver").save()
    with pytest.raises(ValidationError, match=r"'skin'.*await ULabel\(name='skin'\)\.save\(\)"):
        await artifacts[0].features.add_values({"tissue": ["lung", "skin"]})
    assert await artifacts[0].ulabels.all() == []
    await artifacts[0].features.add_values({"tissue": ["lung", liver]})
    assert await artifacts[0].features.get_values() == {"tissue": ["lung", "liver"]}
    assert await artifacts[0].labels.get(tissue).all() == [lung, liver]
    assert await Artifact.features.filter(tissue="liver").all() == [artifacts[0]]
    await artifacts[0].features.remove_values("tissue")
    assert await artifacts[0].ulabels.all() == []


LOOKUPS: list[tuple[dict[str, object], list[int]]] = [
    ({"dose": 1}, [1]),
    ({"dose__gt": 0.5}, [1, 2, 3]),
    ({"dose__gt": 0.5, "dose__lt": 3}, [1, 2]),
    ({"dose__range": (2, 3)}, [2, 3]),
    ({"dose__in": [0, 3]}, [0, 3]),
    ({"well": "A1"}, [1]),
    ({"well__startswith": "A", "dose__gte": 2}, [2, 3]),
    ({"well__in": ["A1", "A2"]}, [1, 2]),
    ({"seen__lt": NOON + timedelta(hours=2)}, [0, 1]),
    ({"seen": (NOON + timedelta(hours=1)).astimezone(timezone(timedelta(hours=5)))}, [1]),
    ({"even": True}, [0, 2]),
    ({"only": None}, [0, 2, 3]),
    ({"only__isnull": False}, [1]),
    ({"two__words__gt": 5}, [3]),
]


async def test_artifacts_are_found_by_value(artifacts: list[Artifact]) -> None:
    await features(dose="float", well="str", seen="datetime", even="bool", only="cat", two__words="int")
    each = [
        {"dose": n, "well": f"A{n}", "seen": NOON + timedelta(hours=n), "even": n % 2 == 0, "two__words": 2 * n}
        for n in range(4)
    ]
    each[1]["only"] = "x"
    await annotate(artifacts, each)
    for lookups, places in LOOKUPS:
        found = await Artifact.features.filter(**lookups).order_by("key").all()
        assert found == [artifacts[place] for place in places], lookups


NUMBERS: list[int | float] = [
    *(sign * (2**power + more) for power in (53, 60, 63) for more in (-513, -1, 0, 1, 513) for sign in (1, -1)),
    *(sign * float(2**power) for power in (53, 60, 63) for sign in (1, -1)),
    *(0, 5, -5, 5.0, 0.1, -1.5, 10**18 - 1, 10**18, 1e18, 1e300, -1e300, 2.0**63 + 2048),
]
COMPARED = {"exact": eq, "gt": gt, "gte": ge, "lt": lt, "lte": le}


async def test_numbers_compare_as_in_python(instance: inhaul.Instance, tmp_path: Path) -> None:
    folder = tmp_path / "numbers"
    folder.mkdir()
    for place in range(len(NUMBERS)):
        (folder / f"{place:02}.txt").write_text(str(place))
    artifacts = list(await Artifact.from_dir(folder).save())
    kept = {
        dtype: {artifact: number for artifact, number in zip(artifacts, NUMBERS, strict=True) if takes(dtype, number)}
        for dtype in ("int", "float", "number")
    }
    await features(**{dtype: dtype for dtype in kept}, str="str")
    values = [{dtype: own[it] for dtype, own in kept.items() if it in own} for it in artifacts]
    await annotate(artifacts, [own | {"str": str(number)} for own, number in zip(values, NUMBERS, strict=True)])

    async def check(lookup: str, value: Any, meets: Callable[[int | float], bool]) -> None:
        for dtype, own in kept.items():
            found = await Artifact.features.filter(**{f"{dtype}__{lookup}": value})._artifact_ids()
            assert set(found) == {it.id for it, number in own.items() if meets(number)}, (dtype, lookup, value)

    asked = [*NUMBERS, -0.0, math.inf, -math.inf, math.nan, 2**63 + 1025, 10**400, -(10**400)]
    for value in asked:
        for lookup, compare in COMPARED.items():
            await check(lookup, value, lambda number, compare=compare, value=value: compare(number, value))
    chance = random.Random(5)
    for _ in range(15):
        low, high = chance.sample(asked, 2)
        await check("range", (low, high), lambda number, low=low, high=high: low <= number <= high)
        some = chance.sample(asked, 10)
        await check("in", some, lambda number, some=some: number in some)
    await check("in", [], lambda _: False)
    for lookup in COMPARED:
        assert not await Artifact.features.filter(**{f"str__{lookup}": 5}).exists()
    found = await Artifact.features.filter(int__in=range(2**53, 2**53 + 3000)).count()
    assert found == sum(2**53 <= number < 2**53 + 3000 for number in kept["int"].values())


def takes(dtype: str, value: int | float) -> bool:
    return dtypes.encode(dtype, value) is not None


async def test_texts_are_compared_with_texts(artifacts: list[Artifact]) -> None:
    await features(n="int", seen="datetime")
    for lookup, value in (("n__contains", 5), ("seen__startswith", NOON)):
        with pytest.raises(TypeError, match="is no text"):
            Artifact.features.filter(**{lookup: value})


@pytest.mark.parametrize(
    ("lookup", "value", "error", "message"),
    [
        ("n__gt", None, TypeError, "None is no value that a feature could have"),
        ("n__contains", None, TypeError, "None is no text"),
        ("n__isnull", None, TypeError, "n__isnull=None: pass True or False"),
        ("n__in", 5, TypeError, "n__in=5: pass a list of values"),
        ("n__in", "abc", TypeError, "n__in='abc': pass a list of values"),
        ("n__in", [1, None], TypeError, "None is no value"),
        ("n__range", [1], ValueError, "the lowest and the highest value"),
    ],
)
async def test_what_lookups_of_values_do_not_take(
    instance: inhaul.Instance, lookup: str, value: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Artifact.features.filter(**{lookup: value})


async def test_what_no_database_holds_is_not_looked_for(artifacts: list[Artifact]) -> None:
    await features(file="str")
    for lookups in ({"file": "caf\udce9"}, {"file__contains": "\0"}, {"file__in": ["\udce9"]}, {"caf\udce9": 1}):
        with pytest.raises(ValueError, match="no database can store"):
            Artifact.features.filter(**lookups)
    assert await Artifact.features.filter(file="x" * 1001).all() == []


async def test_values_of_what_is_no_feature_are_not_looked_for(artifacts: list[Artifact]) -> None:
    await features(dose="float")
    for lookups, line in (
        ({"dosis": 1.5, "dose": 1}, "await Feature(name='dosis', dtype='float').save()"),
        ({"well__in": ["A1"]}, "await Feature(name='well', dtype='str').save()"),
    ):
        found = Artifact.features.filter(**lookups)
        for verb in (found.all, found.first, found.count, found.exists, found.df, found.order_by("key").limit(1).one):
            with pytest.raises(ValidationError, match=re.escape(line)):
                await verb()
        with pytest.raises(ValidationError):
            async for _ in found:
                pass
    assert await Artifact.features.filter(dose=1).all() == []


async def test_annotating_many(artifacts: list[Artifact], tmp_path: Path) -> None:
    await features(dose="float", well="str", kind="cat[ULabel]")
    lung, liver = await ULabel("lung").save(), await ULabel("liver").save()
    listed = await Artifact.from_dir(tmp_path / "plates").save()
    await annotate(listed, {"dose": 2}, [lung])
    await annotate(Artifact.filter(key__endswith="1.txt"), {"well": "B2", "kind": "lung"}, [liver])
    await annotate(artifacts[2:], [{"well": "C"}, {}], [[], [liver]])
    await annotate([], {"dose": 3})
    assert [await artifact.features.get_values() for artifact in artifacts] == [
        {"dose": 2.0},
        {"dose": 2.0, "well": "B2", "kind": "lung"},
        {"dose": 2.0, "well": "C"},
        {"dose": 2.0},
    ]
    assert [[label.name for label in await artifact.ulabels.all()] for artifact in artifacts] == [
        ["lung"],
        ["lung", "liver"],
        ["lung"],
        ["lung", "liver"],
    ]
    with pytest.raises(ValueError, match="1 values for 4 artifacts"):
        await annotate(artifacts, [{"dose": 1}])
    with pytest.raises(ValueError, match="not saved"):
        await annotate(artifacts, {"dose": 1}, [ULabel("new")])
    with pytest.raises(ValueError, match="not saved"):
        await annotate([Artifact(tmp_path, key="x")], {"dose": 1})
    with pytest.raises(ValidationError, match="'bad'"):
        await annotate(artifacts, [{"dose": 7.0}, {"dose": "bad"}, {}, {}])
    assert await Artifact.features.filter(dose=7).count() == 0


async def test_a_deleted_artifact_cannot_be_annotated(artifacts: list[Artifact]) -> None:
    await features(dose="float")
    await artifacts[0].delete(permanent=True)
    with pytest.raises(NoResultFound, match="deleted"):
        await artifacts[0].features.add_values({"dose": 1})
    with pytest.raises(NoResultFound, match="deleted"):
        await artifacts[0].ulabels.add(await ULabel("late").save())


async def test_what_an_artifact_was_annotated_with_goes_with_it(artifacts: list[Artifact]) -> None:
    await features(dose="float")
    lung = await ULabel("lung").save()
    await annotate(artifacts[:2], {"dose": 1}, [lung])
    await artifacts[0].delete(permanent=True)
    assert await lung.artifacts.all() == [artifacts[1]]
    assert await Artifact.features.filter(dose=1).all() == [artifacts[1]]


LINKS: list[Callable[[Artifact, ULabel, Any], Awaitable[object]]] = [
    lambda artifact, label, other: artifact.ulabels.add(other),
    lambda artifact, label, other: artifact.ulabels.remove(other),
    lambda artifact, label, other: artifact.labels.add(other),
    lambda artifact, label, other: artifact.labels.add([label, other]),
    lambda artifact, label, other: artifact.labels.add(label, feature=other),
    lambda artifact, label, other: artifact.labels.remove(other),
    lambda artifact, label, other: artifact.labels.remove(label, feature=other),
    lambda artifact, label, other: artifact.labels.add_from(other),
    lambda artifact, label, other: artifact.features.add_feature_set(other, "slot"),
    lambda artifact, label, other: label.parents.add(other),
    lambda artifact, label, other: label.artifacts.add(other),
    lambda artifact, label, other: annotate([artifact, other]),
    lambda artifact, label, other: annotate([artifact], labels=[other]),
    lambda artifact, label, other: annotate([artifact], labels=[[other]]),
    lambda artifact, label, other: annotate([artifact], labels=[label], feature=other),
    lambda artifact, label, other: Collection([artifact, other], "c").save(),
    lambda artifact, label, other: Artifact.filter(ulabels=other).all(),
    lambda artifact, label, other: Artifact.filter(ulabels__in=[label, other]).all(),
    lambda artifact, label, other: Artifact.filter(ulabels__artifacts=other).all(),
]


async def test_nothing_else_is_linked(artifacts: list[Artifact], tmp_path: Path) -> None:
    """Neither a record of another registry nor one of another database, where its id is that of something else."""
    label = await ULabel("label").save()
    here, there = [artifacts[1]], []
    async with inhaul.connect(storage=tmp_path / "elsewhere"):
        there.append(await Artifact(pd.DataFrame({"n": [1]}), key="there.parquet").save())
        there += await more_records()
        labels_there = ULabel.filter()
    here += await more_records()
    for link in LINKS:
        for other in (*there, "text", 1, ULabel):
            with pytest.raises((TypeError, ValueError), match=r"pass an? |belongs to"):
                await link(artifacts[0], label, other)
        refused = 0
        for other in here:
            try:
                await link(artifacts[0], label, other)
            except TypeError:
                refused += 1
        assert refused == len(here) - 1
    with pytest.raises(ValueError, match="finds records of"):
        Artifact.filter(ulabels__in=labels_there)
    with pytest.raises(TypeError, match="pass ULabel records"):
        Artifact.filter(ulabels__in=Artifact.filter())
    with pytest.raises(TypeError, match="finds no artifacts"):
        await annotate(ULabel.filter(), labels=[label])


async def more_records() -> list[Any]:
    feature = await Feature("another", "cat[ULabel]").save()
    return [feature, await FeatureSet([feature]).save(), await ULabel("another").save()]


async def test_what_is_said_of_labels_is_checked(artifacts: list[Artifact]) -> None:
    label = await ULabel("kidney").save()
    age = await Feature("age", "int").save()
    with pytest.raises(ValueError, match="does not take labels"):
        await annotate(artifacts, labels=[label], feature=age)
    for labels in ("kidney", ULabel.filter()):
        with pytest.raises(TypeError, match="pass a list of labels"):
            await annotate(artifacts, labels=labels)  # type: ignore[arg-type]
    for values in (["age"] * 4, 5 * [3]):
        with pytest.raises((TypeError, ValueError), match="pass"):
            await annotate(artifacts, values)  # type: ignore[arg-type]
    await Feature("organ", "cat[ULabel]").save()
    for value, error in (({"\ud800": 1}, ValueError), ({1: 1}, TypeError), ({"organ": "\ud800"}, ValidationError)):
        with pytest.raises(error):
            await artifacts[0].features.add_values(value)
    with pytest.raises(TypeError, match="pass a dict"):
        await artifacts[0].features.add_values("age")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is no artifact"):
        await annotate(["text"])  # type: ignore[list-item]
    assert await artifacts[0].features.get_values() == {}


async def test_labels(artifacts: list[Artifact]) -> None:
    tissue, dose = (await features(tissue="cat[ULabel]", dose="float")).values()
    lung, liver = await ULabel("lung").save(), await ULabel("liver", description="hepatic").save()
    labels = artifacts[0].labels
    await labels.add(lung)
    await labels.add([lung, liver], feature=tissue)
    await labels.add([lung, liver], feature=tissue)
    assert await artifacts[0].ulabels.all() == [lung, liver]
    assert await labels.get(tissue).all() == [lung, liver]
    await labels.remove(lung, feature=tissue)
    assert await labels.get(tissue).all() == [liver]
    assert await artifacts[0].ulabels.filter(name="lung").count() == 1
    await artifacts[1].labels.add_from(artifacts[0])
    assert await artifacts[1].labels.get(tissue).all() == [liver]
    assert await artifacts[1].ulabels.all() == [lung, liver]
    await labels.remove([lung, liver])
    assert await artifacts[0].ulabels.all() == []
    with pytest.raises(ValueError, match=r"dtype='cat\[ULabel\]'"):
        await labels.add(lung, feature=dose)
    with pytest.raises(ValueError, match="not saved"):
        await labels.add(ULabel("new"))
    assert (await ULabel("lung").save()).id == lung.id


async def test_artifacts_are_found_by_label(artifacts: list[Artifact]) -> None:
    lung, liver = await ULabel("lung").save(), await ULabel("liver").save()
    await artifacts[0].labels.add([lung, liver])
    await artifacts[1].labels.add(liver)
    assert await Artifact.filter(ulabels=lung).all() == [artifacts[0]]
    assert await Artifact.filter(ulabels__name="liver").all() == artifacts[:2]
    assert await Artifact.filter(ulabels__name__startswith="l").count() == 2
    assert await Artifact.filter(ulabels__in=[lung]).all() == [artifacts[0]]
    assert await Artifact.filter(ulabels__isnull=True).all() == artifacts[2:]
    assert await Artifact.filter(ulabels__artifacts__ulabels=lung).all() == artifacts[:2]
    assert await ULabel.filter(artifacts__key__endswith="1.txt").all() == [liver]
    with pytest.raises(UnknownField, match="ULabel has no field 'colour'"):
        Artifact.filter(ulabels__colour="red")
    with pytest.raises(AttributeError):
        artifacts[0].ulabels = [lung]  # type: ignore[misc, assignment]


async def test_labels_form_a_hierarchy(artifacts: list[Artifact]) -> None:
    cell, tcell, cd8 = [await ULabel(name).save() for name in ("cell", "T cell", "CD8 T cell")]
    await tcell.parents.add(cell)
    await tcell.children.add(cd8)
    assert await cd8.parents.all() == [tcell]
    assert await cell.children.all() == [tcell]
    assert await cell.descendants.all() == [tcell, cd8]
    assert await cd8.ancestors.all() == [cell, tcell]
    await artifacts[0].labels.add(cd8)
    assert await Artifact.filter(ulabels__in=cell.descendants).all() == [artifacts[0]]
    assert await ULabel.filter(parents__parents__name="cell").all() == [cd8]
    for bottom, top in ((cell, cd8), (cell, cell), (tcell, cd8)):
        with pytest.raises(ValueError, match="no circle"):
            await bottom.parents.add(top)
    await tcell.children.remove(cd8)
    assert await cell.descendants.all() == [tcell]


async def test_feature_sets(artifacts: list[Artifact]) -> None:
    area = await Feature("area", "float").save()
    made = await FeatureSet([area, Feature("depth", "float")]).save()
    assert [feature.name for feature in await made.features.all()] == ["area", "depth"]
    again = await FeatureSet(reversed(await made.features.all())).save()
    assert again == made
    assert (again.id, again.n) == (made.id, 2)

    await artifacts[0].features.add_feature_set(made, "columns")
    await artifacts[0].features.add_feature_set(made, "columns")
    await artifacts[0].features.add_feature_set(made, "rna:obs")
    assert await artifacts[0].features["columns"].all() == await made.features.all()
    assert await artifacts[0].features["other"].all() == []
    assert await artifacts[0].features.slots() == ["columns", "rna:obs"]
    assert await artifacts[0].feature_sets.all() == [made]
    with pytest.raises(KeyExists, match="another feature set in this slot"):
        await artifacts[0].features.add_feature_set(FeatureSet([area]), "columns")
    await artifacts[1].feature_sets.add(made)
    assert await made.artifacts.all() == artifacts[:2]
    assert await Artifact.filter(feature_sets__features__name="depth").all() == artifacts[:2]
    for features in ([], [area, area]):
        with pytest.raises(ValueError, match="at least one feature"):
            FeatureSet(features)


async def test_a_set_is_of_features_not_of_their_names(artifacts: list[Artifact]) -> None:
    feature = await Feature("x", "float").save()
    before = await Artifact.from_df(pd.DataFrame({"x": [1.5]}), key="before.parquet").save()
    feature.name = "x_old"
    await feature.save()
    named_so_now = await Feature("x", "float").save()
    after = await Artifact.from_df(pd.DataFrame({"x": [2.5]}), key="after.parquet").save()
    assert await before.features["columns"].all() == [feature]
    assert await after.features["columns"].all() == [named_so_now]


async def test_the_features_of_a_set_stay(instance: inhaul.Instance) -> None:
    one, other = (await features(one="int", other="int")).values()
    feature_set = await FeatureSet([one]).save()
    for change in (feature_set.features.add, feature_set.features.remove):
        with pytest.raises(TypeError, match="make another FeatureSet"):
            await change(other)
    assert await FeatureSet([one, other]).save() != feature_set


async def test_one_set_saved_by_many_at_once(instance: inhaul.Instance) -> None:
    members = (await features(one="int", other="int")).values()
    sets = [FeatureSet(members) for _ in range(8)]
    await asyncio.gather(*(one.save() for one in sets))
    assert len(set(sets)) == await FeatureSet.objects.count() == 1
    assert await sets[-1].features.all() == [*members]


async def test_features_are_checked(instance: inhaul.Instance) -> None:
    with pytest.raises(ValueError, match=r"'text' is no dtype: use one of int, float, .*cat\[ULabel\]"):
        Feature("x", "text")
    with pytest.raises(ValueError, match="empty"):
        Feature("", "int")
    with pytest.raises(ValueError, match="empty"):
        ULabel("")
    await Feature("x", "int").save()
    with pytest.raises(ValueError, match="dtype='int', not 'float'"):
        await Feature("x", "float").save()


async def test_feature_values_are_records(artifacts: list[Artifact]) -> None:
    await features(dose="float")
    await annotate(artifacts, {"dose": 1})
    (value,) = await artifacts[0].feature_values.all()
    assert (value.value, value.feature.name) == (1.0, "dose")
    assert await value.artifacts.all() == artifacts
    assert await Artifact.filter(feature_values__feature__name="dose").count() == 4
    await artifacts[0].feature_values.remove(value)
    assert await artifacts[0].features.get_values() == {}
    with pytest.raises(TypeError, match="add_values"):
        inhaul.FeatureValue()
