"""The outcomes for each file of the corpus, for each way to store and read it.

`python tests/support/outcomes.py` writes the table in `docs/reference/formats.md` again, which `test_corpus.py` checks.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import mudata
import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.feather
import tifffile
import zarr
from PIL import Image

import inhaul.sync as ln
from inhaul.errors import InhaulError

CORPUS = Path(__file__).parents[1] / "corpus"
TABLE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
FILES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))
WAYS = ("rows", "`load`", "`backed`", "`from_*(path)`", "`mapped`", "`from_*(object)`")
NOT_OFFERED = "not offered"
MARKS = ("<!-- outcomes -->\n", "<!-- end -->\n")


def outcomes(file: str) -> tuple[str, ...]:
    """Returns the outcome of each way for a file: equal to that of the library itself, refused, or not offered."""
    path = CORPUS / file
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # libraries warn of old files
        with ln.connect(Path(folder, "storage")):
            artifact = ln.Artifact(path, key=path.name).save()
            expected = _read(path)
            return tuple(_outcome(way, artifact, path, expected) for way in _WAYS)


def rows() -> list[str]:
    """Returns the lines of the table."""
    lines = [f"| file | {' | '.join(WAYS)} |", "|---" * (len(WAYS) + 1) + "|"]
    return lines + [row(file, outcomes(file)) for file in FILES]


def row(file: str, cells: tuple[str, ...]) -> str:
    """Returns one line of the table."""
    return f"| {file} | {' | '.join(cells)} |"


def table() -> list[str]:
    """Returns the lines of the table in the docs."""
    text = TABLE.read_text()
    return text[text.index(MARKS[0]) + len(MARKS[0]) : text.index(MARKS[1])].splitlines()


class _NotOffered(Exception):
    pass


def _outcome(way: Callable[[Any, Path, Any], None], artifact: Any, path: Path, expected: Any) -> str:
    try:
        way(artifact, path, expected)
    except _NotOffered:
        return NOT_OFFERED
    except (InhaulError, ValueError) as error:
        if isinstance(error, AssertionError):
            raise
        return f"refused: {type(error).__name__}"
    return "equal"


def _read(path: Path) -> Any:
    """Reads a file with the library of its format."""
    name = path.name
    if name.endswith(".h5ad"):
        return anndata.read_h5ad(path)
    if name.endswith(".zarr.zip"):
        with zarr.storage.ZipStore(path, mode="r") as store:
            return anndata.read_zarr(store)
    if name.endswith(".h5mu"):
        return mudata.read_h5mu(path)
    if name.endswith((".csv", ".csv.gz")):
        return pd.read_csv(path)
    if name.endswith(".tsv"):
        return pd.read_csv(path, sep="\t")
    if name.endswith(".parquet"):
        return pd.read_parquet(path)
    if name.endswith((".feather", ".ipc")):
        return pd.read_feather(path)
    if name.endswith(".tif"):
        return tifffile.imread(path)
    image = Image.open(path)
    return np.asarray(image.convert("RGB") if image.mode == "P" else image)


def _rows(artifact: Any, path: Path, expected: Any) -> None:
    if artifact.accessor is None or path.name.endswith((".csv", ".csv.gz", ".tsv", ".feather", ".ipc")):
        assert artifact.n_observations is None
        raise _NotOffered
    assert artifact.n_observations == expected.shape[0]


def _load(artifact: Any, path: Path, expected: Any) -> None:
    _assert_same(artifact.load(), expected)


def _backed(artifact: Any, path: Path, expected: Any) -> None:
    if artifact.accessor in (None, "MuData"):
        raise _NotOffered
    opened = artifact.backed()
    if isinstance(opened, pyarrow.dataset.Dataset):
        _assert_same(opened.to_table().to_pandas(), expected)
        return
    with opened:
        _assert_same(opened.to_memory(), expected)
        _assert_same(opened[1:3].to_memory(), expected[1:3].copy())


def _by_path(artifact: Any, path: Path, expected: Any) -> None:
    make = {"AnnData": ln.Artifact.from_anndata, "MuData": ln.Artifact.from_mudata}.get(artifact.accessor)
    if make is None:
        raise _NotOffered
    _assert_same(make(path, key=f"again/{path.name}").save().load(), expected)


def _mapped(artifact: Any, path: Path, expected: Any) -> None:
    if artifact.accessor != "AnnData":
        raise _NotOffered
    with ln.Collection([artifact], path.name).save().mapped(obs_keys=["kind"]) as mapped:
        assert [mapped[number]["kind"] for number in range(len(mapped))] == list(expected.obs["kind"])
        matrix = expected.X.toarray() if hasattr(expected.X, "toarray") else expected.X
        np.testing.assert_array_equal(np.stack([mapped[number]["X"] for number in range(len(mapped))]), matrix)


def _by_object(artifact: Any, path: Path, expected: Any) -> None:
    make = {
        "AnnData": ln.Artifact.from_anndata,
        "MuData": ln.Artifact.from_mudata,
        "DataFrame": ln.Artifact.from_df,
    }.get(artifact.accessor)
    if make is None:
        raise _NotOffered
    made = make(expected, description=path.name).save()
    stored = ln.Artifact.get(made.uid).load()
    _assert_same(_with_plain_texts(stored), _with_plain_texts(_round_trip(expected)))


def _round_trip(data: Any) -> Any:
    """Writes an object with the library itself, in the format in which objects are stored, and reads it again."""
    if isinstance(data, pd.DataFrame):
        return data
    suffix = "h5mu" if hasattr(data, "mod") else "h5ad"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"data.{suffix}")
        getattr(_with_plain_texts(data.copy()), f"write_{suffix}")(path)
        return _read(path)


def _with_plain_texts(data: Any) -> Any:
    """With pandas 2, converts columns with nullable texts, since anndata can read them there, but not write them."""
    if isinstance(data, pd.DataFrame) or isinstance(pd.Series(["a"]).dtype, pd.StringDtype):
        return data
    for one in getattr(data, "mod", {}).values():
        _with_plain_texts(one)
    raw = getattr(data, "raw", None)
    for frame in (data.obs, data.var, *((raw.var,) if raw is not None else ())):
        frame.index = frame.index.astype(object)
        for name, column in frame.items():
            if column.dtype == "category":
                frame[name] = column.cat.rename_categories(list(column.cat.categories))
            elif isinstance(column.dtype, pd.StringDtype):
                frame[name] = column.astype(object)
    return data


def _assert_same(one: Any, other: Any) -> None:
    if isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    elif isinstance(other, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif hasattr(other, "mod"):
        assert one.mod.keys() == other.mod.keys()
        for name in other.mod:
            _assert_same(one.mod[name], other.mod[name])
    elif hasattr(other, "obs"):
        for name in ("obs", "var", "X", "layers", "obsm", "varm", "obsp", "varp", "uns", "raw"):
            _assert_same(getattr(one, name), getattr(other, name))
    elif hasattr(other, "keys"):
        assert one.keys() == other.keys()
        for name in other.keys():  # noqa: SIM118 - the parts of an AnnData are no dicts
            _assert_same(one[name], other[name])
    elif isinstance(other, anndata.Raw):
        _assert_same(one.X, other.X)
        _assert_same(one.var, other.var)
    elif hasattr(other, "toarray"):
        assert one.format == other.format
        _assert_same(one.toarray(), other.toarray())
    else:
        assert one == other


_WAYS = (_rows, _load, _backed, _by_path, _mapped, _by_object)


if __name__ == "__main__":
    text = TABLE.read_text()
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    TABLE.write_text(text[:start] + "\n".join(rows()) + "\n" + text[end:])
