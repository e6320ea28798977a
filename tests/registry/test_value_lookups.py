"""Artifacts found by values of features."""

import math
import random
import re
from collections.abc import Callable
from datetime import timedelta, timezone
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inhaul
from annotated import NOON, features
from inhaul import Artifact, annotate
from inhaul.errors import ValidationError
from inhaul.registry.model import dtypes

NOT_COMPARED: list[tuple[dict[str, object], str]] = [
    ({"n": "x"}, "n='x': the feature takes a whole number of at most 64 bits, as its dtype is 'int'"),
    ({"n__in": [1, np.str_("2")]}, "n__in='2': the feature takes a whole number"),
    ({"n__gt": NOON}, "n__gt=datetime.datetime(2024"),
    ({"n": True}, "n=True: the feature takes a whole number"),
    ({"n__contains": "1"}, "n__contains='1': the feature takes a whole number"),
    ({"x__range": [1, "2"]}, "x__range='2': the feature takes a finite number"),
    ({"name": 5}, "name=5: the feature takes a text"),
    ({"name": np.float64(5)}, "name=5.0: the feature takes a text"),
    ({"even": 1}, "even=1: the feature takes True or False"),
    ({"seen": "2024-05-01"}, "seen='2024-05-01': the feature takes a datetime with a time zone"),
    ({"tissue": 5}, "tissue=5: the feature takes the name of a ULabel"),
    ({"n__lt": 5, "n__gt": "1"}, "n__gt='1': the feature takes a whole number"),
]


@pytest.mark.parametrize(("lookups", "message"), NOT_COMPARED)
async def test_a_value_that_a_feature_could_not_have_is_not_looked_for(
    artifacts: list[Artifact], lookups: dict[str, object], message: str
) -> None:
    await features(n="int", x="number", name="str", even="bool", seen="datetime", tissue="cat[ULabel]")
    with pytest.raises(ValidationError, match=f"^{re.escape(message)}"):
        await Artifact.features.filter(**lookups).all()


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
        with pytest.raises(ValidationError, match=f"str__{lookup}=5: the feature takes a text"):
            await Artifact.features.filter(**{f"str__{lookup}": 5}).exists()
    found = await Artifact.features.filter(int__in=range(2**53, 2**53 + 3000)).count()
    assert found == sum(2**53 <= number < 2**53 + 3000 for number in kept["int"].values())


def takes(dtype: str, value: int | float) -> bool:
    return dtypes.encode(dtype, value) is not None


async def test_texts_are_compared_with_texts(artifacts: list[Artifact]) -> None:
    await features(n="int", seen="datetime")
    for lookup, value in (("n__contains", 5), ("seen__startswith", NOON)):
        with pytest.raises(TypeError, match="is not a text"):
            Artifact.features.filter(**{lookup: value})


@pytest.mark.parametrize(
    ("lookup", "value", "error", "message"),
    [
        ("n__gt", None, TypeError, "None cannot be the value of a feature"),
        ("n__contains", None, TypeError, "None is not a text"),
        ("n__isnull", None, TypeError, "n__isnull=None: pass True or False"),
        ("n__in", 5, TypeError, "n__in=5: pass a list of values"),
        ("n__in", "abc", TypeError, "n__in='abc': pass a list of values"),
        ("n__in", [1, None], TypeError, "None cannot be the value"),
        ("n__range", [1], ValueError, "the lowest and the highest value"),
    ],
)
async def test_wrong_lookups_of_values_are_refused(
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
