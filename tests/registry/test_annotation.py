"""Values of features: added to one artifact or many, read back, refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import inhaul
from annotated import NOON, features
from inhaul import Artifact, ULabel, annotate
from inhaul.errors import NoResultFound, ValidationError
from inhaul.registry.model import dtypes


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


@example(value=2**53 + 1)  # a float cannot hold this number
@example(value=10**400)
@given(value=st.integers() | st.floats() | st.booleans() | st.text() | st.datetimes(timezones=st.timezones()))
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    for dtype in dtypes.NAMES:
        encoded = dtypes.encode(dtype, value)
        if encoded is not None:
            # In an hour that comes twice, times in two zones never compare as equal.
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
    ("int", 1.5),
    ("int", 2.0**63),
    ("int", np.float32("nan")),
    ("int", np.float64("inf")),
    ("int", np.longdouble("1.5")),
    ("int", np.complex64(1)),
    ("int", np.timedelta64(1, "s")),
    ("int", np.str_("1")),
    ("int", True),
    ("int", 2**63),
    ("float", "1"),
    ("float", float("nan")),
    ("number", float("inf")),
    ("bool", 1),
    ("str", 1),
    ("str", "x" * 2501),
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
    ("int", np.float64(1.5)),
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


WHOLE = [3.0, 1e18, -0.0, np.float64(3), np.float32(3), np.float16(3), np.int8(3), np.uint64(3), np.array(3.0)]


async def test_a_whole_float_is_the_whole_number(artifacts: list[Artifact]) -> None:
    """As a value, in a lookup, or in a column, which pandas makes of whole numbers with missing ones."""
    await features(n="int", x="number")
    for value in WHOLE:
        await artifacts[0].features.add_values({"n": value, "x": value})
        kept = (await artifacts[0].features.get_values())["n"]
        assert (kept, type(kept)) == (int(value), int)
        for lookups in ({"n": value}, {"n__in": [value]}, {"n__gte": value, "n__lte": value}, {"x": value}):
            assert await Artifact.features.filter(**lookups).count() == 1, lookups
        await artifacts[0].features.remove_values(["n", "x"])
    await artifacts[0].features.add_values({"x": 3.0})
    assert type((await artifacts[0].features.get_values())["x"]) is float  # a feature of numbers keeps a float as it is
    for column in (pd.Series([3.0, None]), pd.Series([3.0, 4.0], dtype=object), pd.Series([3, None], dtype="Float64")):
        made = await Artifact.from_df(pd.DataFrame({"n": column}), key="n.parquet").save()
        assert [one.name for one in await made.features["columns"].all()] == ["n"]
    for column in ([3.5], [3.0, np.inf], ["3"]):
        with pytest.raises(ValidationError, match="'n' in columns holds"):
            await Artifact.from_df(pd.DataFrame({"n": column}), key="n.parquet")
    with pytest.warns(UserWarning, match=r"Feature\(name='new', dtype='float'\)"):
        await Artifact.from_df(pd.DataFrame({"new": [3.0]}), key="new.parquet")


async def test_many_artifacts_are_annotated_in_one_call(artifacts: list[Artifact], tmp_path: Path) -> None:
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
