"""What is recorded of runs: the calls of tracked functions, and their params."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import date
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import inhaul
import inhaul.sync as ih
from inhaul import Artifact, Run, Transform
from inhaul.errors import InvalidText
from trees import text_file


async def test_each_call_of_a_tracked_function_is_a_run(instance: inhaul.Instance, tmp_path: Path) -> None:
    @inhaul.tracked
    async def make(name: str, options: object = None) -> Artifact:
        await asyncio.sleep(0)
        return await Artifact(tmp_path / name, key=name).save()

    for name in ("a.txt", "b.txt"):
        text_file(tmp_path, name)
    made = await asyncio.gather(make("a.txt"), make("b.txt", options=object()))
    runs = [artifact.run for artifact in made]
    assert runs[0] != runs[1]
    assert runs[0].transform == runs[1].transform
    assert runs[0].transform.type == "function"
    assert runs[0].transform.name.endswith("make")
    assert [run.params for run in runs] == [
        {"name": "a.txt", "options": None},
        {"name": "b.txt", "options": "<object>"},
    ]
    assert [(await Run.get(run.uid)).finished_at is not None for run in runs] == [True, True]


async def test_a_call_of_a_tracked_function_that_failed_is_a_run_without_an_end(instance: inhaul.Instance) -> None:
    @inhaul.tracked
    def fail(number: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail(1)
    failed = await Run.filter(transform__name__endswith="fail").one()
    assert (failed.params, failed.finished_at) == ({"number": 1}, None)


async def test_after_a_tracked_function_the_run_around_it_is_the_current_one(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    file = text_file(tmp_path, "a.txt")

    @inhaul.tracked
    async def make(*, fails: bool) -> Artifact:
        if fails:
            raise ZeroDivisionError
        return await Artifact(file, key="a.txt").save()

    outer = await inhaul.track(Transform("nightly", type="pipeline"))
    assert (await make(fails=False)).run != outer
    with pytest.raises(ZeroDivisionError):
        await make(fails=True)
    assert (await Artifact(text_file(tmp_path, "c.txt"), key="c.txt").save()).run == outer


def test_each_call_of_a_blocking_tracked_function_is_a_run(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):

        @ih.tracked
        def make(name: str) -> ih.Artifact:
            return ih.Artifact(text_file(tmp_path, name)).save()

        made = make("c.txt")
        assert made.run.transform.name.endswith("make")
        assert "flowchart" in str(made.view_lineage())


def test_the_blocking_api_tracks_no_coroutine_function() -> None:
    async def make() -> None:
        pass

    with pytest.raises(TypeError, match=r"inhaul\.tracked"):
        ih.tracked(make)


async def test_defaults_of_a_tracked_function_are_its_params(instance: inhaul.Instance) -> None:
    @inhaul.tracked
    def fit(x: int, depth: int = 3, *more: int, path: Path = Path("out"), empty: str = "", **options: int) -> None:
        pass

    await fit(1)
    await fit(1, 4, 5, path=Path("there"), rate=2)
    with_defaults, given = [run.params for run in await Run.filter().order_by("id").all()]
    assert with_defaults == {"x": 1, "depth": 3, "path": "out", "empty": ""}
    assert given == {"x": 1, "depth": 4, "more": [5], "path": "there", "empty": "", "options": {"rate": 2}}


class Colour(Enum):
    RED = "red"


GIVEN = {
    "input": Path("a/b.csv"),
    "n": np.int64(3),
    "rate": np.float32(0.5),
    "really": np.bool_(True),
    "when": pd.Timestamp("2024-05-01", tz="UTC"),
    "day": date(2024, 5, 1),
    "colour": Colour.RED,
    "run": print,
    "sizes": (1, np.int64(2)),
    "nested": {"path": Path("c")},
    "nothing": None,
    "limits": [float("nan"), np.float64("inf"), float("-inf")],
}
RECORDED = {
    "input": "a/b.csv",
    "n": 3,
    "rate": 0.5,
    "really": True,
    "when": "2024-05-01 00:00:00+00:00",
    "day": "2024-05-01",
    "colour": "Colour.RED",
    "run": "builtins.print",
    "sizes": [1, 2],
    "nested": {"path": "c"},
    "nothing": None,
    "limits": ["nan", "inf", "-inf"],
}


async def test_params_that_are_given_are_recorded_as_those_of_a_tracked_function(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("t"), params=vars(argparse.Namespace(**GIVEN)))
    assert run.params == RECORDED
    assert (await Run.get(run.uid)).params == RECORDED
    await inhaul.tracked(lambda given: None)(GIVEN)
    assert (await Run.filter().order_by("-id").first()).params == {"given": RECORDED}
    run.params["path"], run.params["n"] = Path("x"), np.int64(4)
    await run.save()
    assert (await Run.get(run.uid)).params == run.params == RECORDED | {"path": "x", "n": 4}


def test_keys_of_params_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        for params in ({1: "a"}, {None: "a"}, {"a": [{2.5: "b"}]}):
            with pytest.raises(TypeError, match="is not a text, and would come back as one"):
                ih.track(ih.Transform("t"), params=params)
        circle: dict[str, object] = {}
        circle["self"] = circle
        with pytest.raises(ValueError, match="holds itself"):
            ih.track(ih.Transform("t"), params=circle)
        assert ih.Run.filter().count() == 0
        ih.tracked(lambda given: None)({1: "a"})
        assert ih.Run.filter().one().params == {"given": "{1: 'a'}"}


class _Odd:
    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError


_LOOP: list[object] = []
_LOOP.append(_LOOP)


_RECORDED: list[tuple[object, object]] = [
    (float("nan"), "nan"),
    ([float("inf"), -np.float32("inf"), {"rate": np.float64("nan")}], ["inf", "-inf", {"rate": "nan"}]),
    ({(1, 2): 3}, "{(1, 2): 3}"),
    ("\udcff", r"'\udcff'"),
    (Path("\udcff"), r"PosixPath('\udcff')"),
    (_LOOP, "[[[[[[[...]]]]]]]"),
    ([*range(10_000)], "[0, 1, 2, 3, 4, 5, ...]"),
    ("x" * 100_000, "'xxxxxxxxxxxx...xxxxxxxxxxxxx'"),
    (10**5000, "<int>"),
    ({"a": [1, None, Path("b"), object()]}, {"a": [1, None, "b", "<object>"]}),
]


async def test_any_argument_of_a_tracked_function_is_recorded(instance: inhaul.Instance) -> None:
    @inhaul.tracked
    async def take(given: object) -> Run:
        return await Run.filter().order_by("-id").first()

    for value, recorded in _RECORDED:
        assert (await take(value)).params == {"given": recorded}


async def test_an_argument_that_cannot_be_shown_is_recorded_by_its_type(instance: inhaul.Instance) -> None:
    await inhaul.tracked(lambda odd: None)(_Odd())
    assert (await Run.filter().one()).params["odd"].startswith("<_Odd instance at")
    await inhaul.tracked(lambda odd: None)({"a": [_Odd()]})
    assert (await Run.filter().order_by("-id").first()).params["odd"].startswith("{'a': [<_Odd instance at")


async def test_a_param_that_has_no_form_is_refused_by_name_and_ends_no_run(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("t"), params={"depth": 3})
    for value, error, problem in (
        (_Odd(), TypeError, "reading it raises ZeroDivisionError"),
        ([object()], TypeError, "there is no form for <object"),
        ("\udcff", InvalidText, "half of a surrogate pair"),
        ({"\udcff": 1}, InvalidText, "half of a surrogate pair"),
    ):
        message = rf"params\['odd'\]=.* cannot be JSON: .*{problem}"
        with pytest.raises(error, match=message):
            await inhaul.track(Transform("t"), params={"depth": 4, "odd": value})
        run.params["odd"] = value
        with pytest.raises(error, match=message):
            await inhaul.finish()
        assert instance.run is run
    assert await Run.filter().count() == 1
    del run.params["odd"]
    await inhaul.finish()
    assert (await Run.get(run.uid)).params == {"depth": 3}


async def test_a_function_is_tracked_with_parentheses_too(instance: inhaul.Instance) -> None:
    @inhaul.tracked()
    async def later(number: int) -> int:
        return number

    @inhaul.tracked()
    def now(number: int) -> int:
        return number

    @ih.tracked()
    def blocking(number: int) -> int:
        return number

    assert (await later(1), await now(2), await asyncio.to_thread(blocking, 3)) == (1, 2, 3)
    runs = await Run.filter(transform__type="function").order_by("id").all()
    assert [run.params for run in runs] == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert later.__name__ == "later"


def test_generators_and_unnamed_functions_cannot_be_tracked() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for track in (inhaul.tracked, ih.tracked):
        for function in (numbers, later):
            with pytest.raises(TypeError, match="is a generator"):
                track(function)
        for other in (partial(print, 1), 5):
            with pytest.raises(TypeError, match="not a function with a name"):
                track(other)  # type: ignore[arg-type]


async def test_params_that_are_set_one_by_one_are_saved(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("nightly", type="pipeline"), params={"depth": 3})
    run.params["accuracy"] = 0.9
    await run.save()
    found = await Run.get(run.uid)
    assert found.params == {"depth": 3, "accuracy": 0.9}
    del found.params["depth"]
    await found.save()
    assert (await Run.get(run.uid)).params == {"accuracy": 0.9}
    found.params["what"] = object()
    with pytest.raises(TypeError, match="cannot be JSON"):
        await found.save()
    await inhaul.finish()


def test_params_of_one_api_can_be_changed_by_the_other(tmp_path: Path) -> None:
    async def begin() -> Run:
        return await inhaul.track(Transform("nightly", type="pipeline"), params={"depth": 3})

    with ih.connect(tmp_path / "storage"):
        uid = asyncio.run(begin()).uid
        run = ih.Artifact(text_file(tmp_path, "a.txt"), key="a.txt").save().run
        run.params["accuracy"] = 0.9
        run.save()
        assert ih.Run.get(uid).params == {"depth": 3, "accuracy": 0.9}
