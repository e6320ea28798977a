"""The rules for names, with tables of examples and with random names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhaul import keys


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csv", ".csv"),
        ("A.CSV", ".csv"),
        ("a.csv.gz", ".csv.gz"),
        ("a.tsv.gz", ".tsv.gz"),
        ("a.parquet.gz", ".parquet.gz"),
        ("a.feather.gz", ".feather.gz"),
        ("a.anndata.zarr.zip", ".zarr.zip"),
        ("reads.fastq.gz", ".fastq.gz"),
        ("cells.anndata.zarr", ".anndata.zarr"),
        ("image.ome.tif", ".ome.tif"),
        ("x.foo.gz", ".gz"),
        ("data.v1.parquet", ".parquet"),
        ("a.h5ad", ".h5ad"),
        ("a.zrad", ".zrad"),
        ("README", ""),
        (".bashrc", ""),
        (".config.yaml", ".yaml"),
        ("archive.2024", ""),
        ("a.7z", ".7z"),
        ("a.", ""),
        ("a.b-c", ""),
        ("a.sixteencharacter", ".sixteencharacter"),
        ("a.sixteencharacters", ""),
        ("folder.d/file", ""),
    ],
)
def test_each_name_has_its_suffix(name: str, suffix: str) -> None:
    assert keys.suffix(name) == suffix


@pytest.mark.parametrize(
    ("suffix", "accessor"),
    [
        *[(suffix, "DataFrame") for suffix in (".csv", ".tsv", ".parquet", ".ipc", ".feather")],
        *[(suffix + ".gz", "DataFrame") for suffix in (".csv", ".tsv", ".parquet", ".ipc", ".feather")],
        (".h5ad", "AnnData"),
        (".zrad", "AnnData"),
        (".anndata.zarr", "AnnData"),
        (".h5mu", "MuData"),
        (".zarr", None),
        (".png", None),
        ("", None),
    ],
)
def test_each_suffix_has_its_accessor(suffix: str, accessor: str | None) -> None:
    assert keys.accessor(suffix) == accessor


@given(st.text(max_size=40))
def test_a_suffix_ends_the_name_in_lower_case(name: str) -> None:
    suffix = keys.suffix(name)
    assert re.fullmatch(r"|\.[a-z0-9]+(\.[a-z0-9]+)?", suffix)
    assert name.lower().endswith(suffix)
    assert keys.suffix(f"x{suffix}") == suffix


@pytest.mark.parametrize(
    "key", ["a", "a/b.csv", "a..b", "...", ".inhaulignore", "a/.inhaul.csv", "two words\n", "é" * 512, "a+%?#b"]
)
def test_valid_keys_have_no_problem(key: str) -> None:
    assert keys.key_problem(key) is None


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "empty"),
        ("/a", "absolute"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        (".", "segment"),
        ("a/./b", "segment"),
        ("../a", "segment"),
        ("a/..", "segment"),
        ("a\0b", "NUL"),
        ("a\\b", "backslash"),
        (".inhaul", "own folder"),
        (".inhaul/x", "own folder"),
        ("a/.inhaul/b", "own folder"),
        ("a/.inhaul", "own folder"),
        ("é" * 512 + "a", "1,024 bytes"),
    ],
)
def test_invalid_keys_say_why(key: str, problem: str) -> None:
    assert problem in (keys.key_problem(key) or "")


NAMES = ["a", "b.csv"]
BAD = ["..", ".", "", "a\\", "\0b", keys.OBJECTS]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5), st.sampled_from(BAD), st.data())
def test_a_key_is_valid_until_one_segment_of_it_is_bad(names: list[str], bad: str, data: st.DataObject) -> None:
    assert keys.key_problem("/".join(names)) is None
    names.insert(data.draw(st.integers(0, len(names))), bad)
    assert keys.key_problem("/".join(names)) is not None


def test_new_uids_are_random_first_versions() -> None:
    uids = {keys.new_uid() for _ in range(1000)}
    assert len(uids) == 1000
    assert all(re.fullmatch(r"[0-9A-Za-z]{16}0000", uid) for uid in uids)


@given(st.integers(0, 62**4 - 2))
def test_the_next_uid_sorts_after(number: int) -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def uid(version: int) -> str:
        return "ABCDEFGHIJKLMNOP" + "".join(alphabet[version // 62**place % 62] for place in (3, 2, 1, 0))

    assert keys.next_uid(uid(number)) == uid(number + 1)
    assert uid(number) < uid(number + 1)


@pytest.mark.parametrize("uid", ["", "ABCDEFGHIJKLMNOPzzzz", "ABCDEFGHIJKLMNO/0000", "ABCDEFGHIJKLMNOP000"])
def test_a_last_or_wrong_uid_has_no_next_one(uid: str) -> None:
    with pytest.raises(ValueError, match=r"uid|version"):
        keys.next_uid(uid)


def test_objects_lie_by_the_last_character_of_the_stem() -> None:
    assert keys.object_key("0123456789abcdeX0000", "a1B2c3", ".csv.gz") == ".inhaul/X/0123456789abcdeX0000.csv.gz"
    assert (
        keys.object_key("0123456789abcdeX0001", "a1B2c3", ".csv.gz") == ".inhaul/X/0123456789abcdeX0001.a1B2c3.csv.gz"
    )
    with pytest.raises(ValueError, match="uid"):
        keys.object_key("../../etc", "", "")
