"""A CSV file that is opened without loading it has the rows, columns and types that pandas reads."""

import asyncio
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

import inhaul
from inhaul import Artifact, Collection
from inhaul.formats import tables
from inhaul.formats.arrow import open_dataset


def same(opened: pa.Table, loaded: pd.DataFrame) -> None:
    """Checks that both have equal values. A missing text is None or NaN; a column without rows has any type."""
    found = opened.to_pandas()
    texts = [name for name, column in found.items() if column.dtype == object or not len(column)]
    for name in list(found):
        if str(name).startswith("__index_level_"):
            found = found.set_index(name)
            found.index.name = None
        elif name in texts:
            assert [None if missing(one) else one for one in found[name]] == [
                None if missing(one) else one for one in loaded[name]
            ]
    texts = [name for name in texts if name in found]
    pd.testing.assert_frame_equal(found.drop(columns=texts), loaded.drop(columns=texts), check_index_type=False)
    assert list(found) == list(loaded)


def missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
async def test_texts_that_span_lines_keep_the_rows_apart(
    anywhere: inhaul.Instance, tmp_path: Path, suffix: str
) -> None:
    table = pd.DataFrame(
        {"n": range(40_000), "text": ["two\nlines, and more " * (n % 4) + str(n) for n in range(40_000)]}
    )
    path = tmp_path / f"t{suffix}"
    table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    artifact = await Artifact(path, key=f"t{suffix}").save()
    opened = await artifact.backed()
    rows = await asyncio.to_thread(opened.count_rows)
    assert rows == 40_000
    same(await asyncio.to_thread(opened.to_table), await artifact.load())


CONTENTS = {
    "missing values": "gene,n\na,1\nNA,2\nnull,\n,4\nNone,nan\n",
    "a header twice": "a,a,b\n1,2,x\n3,4,y\n",
    "an index without a name": "gene,n\nc1,a,1\nc2,b,2\n",
    "a header without a name": ",n\nc1,1\nc2,2\n",
    "a missing truth": "a,b\nTrue,True\n,False\n",
    "all missing": "a,b\n,1\nNA,2\n",
    "whole numbers of every size": "a,b\n18446744073709551615,-1\n1,9223372036854775807\n",
    "numbers among texts": "a\n1\nx\n2.0\n",
    "dates, which pandas leaves texts": "day\n2024-01-01\n2024-01-02\n",
    "quotes": 'a,b\n"say ""hi""","1"\n"NA",2\n',
    "a byte order mark": "\ufeffa,b\n1,2\n",
    "no rows": "a,b\n",
    "a header of lines": '\n"two\nlines",b\n1,2\n',
    "blank lines": "a,b\n\n1,2\n\n3,4\n",
    "infinity": "a\ninf\n-inf\n1\n",
    "the smallest whole number": "a,b\n-9223372036854775808,1\n1,2\n",
    "the smallest whole number beside missing ones": "a,b\n-9223372036854775808,1\n,2\n",
    "the smallest whole number far from missing ones": "a,b\n-9223372036854775807,1\n" + "1,1\n" * 3000 + ",2\n",
    "unsigned numbers beside missing ones": "a,b\n18446744073709551615,1\n1,2\n,3\n",
    "unsigned numbers far from missing ones": "a,b\n18446744073709551615,1\n" + "1,1\n" * 3000 + ",2\n",
    "unsigned numbers at the end": "a\n" + "1\n" * 3000 + "18446744073709551615\n",
    "unsigned numbers and a negative one": "a\n-1\n" + "1\n" * 3000 + "18446744073709551615\n",
    "rows that lack fields": 'a,b\nx,1\ny\n"z\nz"\n',
    "a last row that lacks fields": "a,b\n" + "1,2\n" * 3000 + "1\n",
    "a first row with more fields": "a,b\nx,1,2\ny,3\n",
    "a carriage return before a blank": "t,n,c\nx,1,a\ny\r 5,b\nz,2,c\n",
    "signs before numbers": "a\n+1\n2\n",
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_columns_and_types_are_those_of_load(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(CONTENTS[name], newline="")
    artifact = await Artifact(tmp_path / "t.csv", key="t.csv").save()
    opened = await artifact.backed()
    loaded = await artifact.load()
    same(await asyncio.to_thread(opened.to_table), loaded)
    assert await asyncio.to_thread(opened.count_rows) == len(loaded)


@pytest.mark.parametrize("name", ["rows that lack fields", "unsigned numbers far from missing ones"])
async def test_what_arrow_would_read_differently_is_read_as_by_pandas(
    anywhere: inhaul.Instance, tmp_path: Path, name: str
) -> None:
    (tmp_path / "t.tsv").write_text(CONTENTS[name].replace(",", "\t"))
    artifact = await Artifact(tmp_path / "t.tsv", key="t.tsv").save()
    same(await asyncio.to_thread((await artifact.backed()).to_table), await artifact.load())


@pytest.mark.parametrize("rows", ["1,2\n3,4,5\n", "1,2\n" * 3000 + "3,4,5\n", '"1,2\n3,4\n'])
async def test_what_pandas_refuses_is_not_opened(instance: inhaul.Instance, tmp_path: Path, rows: str) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n{rows}")
    artifact = await Artifact(tmp_path / "t.csv", key="t.csv").save()
    with pytest.raises(ValueError, match=rf"{artifact.uid}.*Error tokenizing data") as loading:
        await artifact.load()
    with pytest.raises(ValueError, match="Error tokenizing data") as opening:
        await artifact.backed()
    assert str(loading.value).partition(" data.")[2] == str(opening.value).partition(" data.")[2]


async def test_the_type_of_a_column_may_change_at_its_last_row(instance: inhaul.Instance, tmp_path: Path) -> None:
    rows = [f"{n},{n},{n},{n % 2 == 0}" for n in range(120_000)]
    (tmp_path / "t.csv").write_text("\n".join(["whole,half,text,truth", *rows, "1,1.5,x,maybe", ",,,"]) + "\n")
    artifact = await Artifact(tmp_path / "t.csv", key="t.csv").save()
    opened = await artifact.backed()
    table = await asyncio.to_thread(opened.to_table)
    assert [str(field.type) for field in table.schema] == ["double", "double", "string", "string"]
    same(table, await artifact.load(low_memory=False))


async def test_options_of_pyarrow_say_how_to_read(instance: inhaul.Instance, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1;NA\n")
    artifact = await Artifact(tmp_path / "t.csv", key="t.csv").save()
    parse = csv.ParseOptions(delimiter=";")
    opened = await artifact.backed(parse_options=parse)
    assert (await asyncio.to_thread(opened.to_table)).to_pydict() == {"a": [1], "b": [None]}
    opened = await artifact.backed(parse_options=parse, convert_options=csv.ConvertOptions(null_values=["1"]))
    assert (await asyncio.to_thread(opened.to_table)).to_pydict() == {"a": [None], "b": ["NA"]}
    with pytest.raises(TypeError, match="colour"):
        await artifact.backed(colour="red")
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(TypeError, match=r"'.h5' is opened without options"):
        await (await Artifact(tmp_path / "a.h5", key="a.h5").save()).backed(parse_options=parse)


async def test_a_folder_of_csv_files_is_one_table(anywhere: inhaul.Instance, tmp_path: Path) -> None:
    folder = tmp_path / "t.csv"
    folder.mkdir()
    (folder / "_SUCCESS").write_text("")
    for part in range(3):
        (folder / f"part-{part}.csv").write_text(f"n,x\n{part},{'a' if part == 2 else 1}\n")
    (folder / "more").mkdir()
    (folder / "more" / "part-3.csv.gz").write_bytes(gzip.compress(b"n,x\n3,b\n"))
    artifact = await Artifact(folder, key="t.csv").save()
    assert artifact.accessor == "DataFrame"
    loaded = await artifact.load()
    opened = await artifact.backed()
    found = await asyncio.to_thread(opened.to_table)
    assert loaded["n"].tolist() == found["n"].to_pylist()
    assert found.sort_by("n").to_pydict() == {"n": [0, 1, 2, 3], "x": ["1", "1", "a", "b"]}


async def test_a_folder_of_feather_files_is_one_table(anywhere: inhaul.Instance, tmp_path: Path) -> None:
    folder = tmp_path / "t.feather"
    folder.mkdir()
    for part in range(3):
        pd.DataFrame({"n": [part]}).to_feather(folder / f"part-{part}.feather")
    artifact = await Artifact(folder, key="t.feather").save()
    opened = await artifact.backed()
    loaded = await artifact.load()
    assert loaded["n"].tolist() == (await asyncio.to_thread(opened.to_table))["n"].to_pylist() == [0, 1, 2]


async def test_folders_in_the_path_of_a_parquet_file_are_columns(anywhere: inhaul.Instance, tmp_path: Path) -> None:
    table = pd.DataFrame({"n": [1, 2, 3], "day": ["mo", "tu", "mo"], "year": [1999, 2000, 2000]})
    table.to_parquet(tmp_path / "t.parquet", partition_cols=["day", "year"])
    artifact = await Artifact(tmp_path / "t.parquet", key="t.parquet").save()
    opened = await artifact.backed()
    found = await asyncio.to_thread(opened.to_table)
    pd.testing.assert_frame_equal(found.to_pandas(), await artifact.load())
    assert sorted(found["day"].to_pylist()) == ["mo", "mo", "tu"]


async def test_a_collection_of_tables_keeps_the_names_of_rows(instance: inhaul.Instance) -> None:
    named = [pd.DataFrame({"n": [n]}, index=pd.Index([f"c{n}"], name="cell")) for n in range(2)]
    members = [await Artifact(table, key=f"t{n}.parquet").save() for n, table in enumerate(named)]
    pd.testing.assert_frame_equal(await (await Collection(members, "named").save()).load(), pd.concat(named))
    counted = [
        await Artifact(table.reset_index(drop=True), key=f"c{n}.parquet").save() for n, table in enumerate(named)
    ]
    loaded = await (await Collection(counted, "counted").save()).load()
    pd.testing.assert_frame_equal(loaded, pd.DataFrame({"n": [0, 1]}))


values: Any = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([-(2**63), 2**63, 2**64 - 1]),
    st.floats(allow_infinity=True, width=32),
    st.booleans(),
    st.sampled_from(["", "NA", "null", "x", "two\nlines", "a,b", 'q"q', "2024-01-01", "1.5"]),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(values, values, st.integers(0, 9)), max_size=12))
def test_any_table_opens_as_it_loads(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame(rows, columns=["a", "b", "c"]).to_csv(path, index=False)
    same(open_dataset(path, ".csv").to_table(), tables.read_csv(path, low_memory=False))


def test_types_are_found_however_rows_fall_into_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inhaul.formats.separated._FIRST_ROWS", 1)
    monkeypatch.setattr("inhaul.formats.separated._CHUNK", 1)
    random = np.random.RandomState(0)
    for _ in range(30):
        pool = random.choice(["1", "", "2.5", "True", "x", "-7"], 3)
        lines = [",".join(random.choice(pool, 2)) for _ in range(6)]
        (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]))
        same(open_dataset(tmp_path / "t.csv", ".csv").to_table(), pd.read_csv(tmp_path / "t.csv", low_memory=False))
