"""Formats: each file loads as what another library reads from it, and broken ones are named."""

import asyncio
import gzip
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy
import skimage
import sklearn.datasets
import yaml
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import sparse

import inhaul
from inhaul import Artifact, datasets, keys
from inhaul.errors import MissingLibrary
from inhaul.formats import memory, suffixes
from inhaul.formats.known import SUFFIXES

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata"),
    pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning"),
    pytest.mark.filterwarnings("ignore:Moving element:FutureWarning"),
]

SCANPY = Path(scanpy.__file__).parent / "datasets"
SKLEARN = Path(sklearn.datasets.__file__).parent
SKIMAGE = Path(skimage.__file__).parent / "data"


async def stored(path: Path, **options: Any) -> Artifact:
    return await Artifact(path, key=f"in/{path.name}", **options).save()


def same(one: anndata.AnnData, other: anndata.AnnData) -> None:
    assert one.shape == other.shape
    pd.testing.assert_frame_equal(one.obs, other.obs)
    pd.testing.assert_frame_equal(one.var, other.var)
    np.testing.assert_array_equal(dense(one.X), dense(other.X))
    for mine, theirs in ((one.obsm, other.obsm), (one.layers, other.layers)):
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_array_equal(dense(mine[name]), dense(theirs[name]))


def dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def with_categories(adata: anndata.AnnData) -> anndata.AnnData:
    """Returns what anndata makes of an object when it writes it."""
    made = adata.copy()
    made.strings_to_categoricals()
    return made


async def test_an_h5ad_file_of_scanpy_loads_as_anndata_reads_it(anywhere: inhaul.Instance) -> None:
    path = SCANPY / "10x_pbmc68k_reduced.h5ad"
    artifact = await stored(path)
    assert (artifact.suffix, artifact.accessor, artifact.n_observations) == (".h5ad", "AnnData", 700)
    same(await artifact.load(), anndata.read_h5ad(path))
    whole = await (await artifact.backed())[:, ["CD79A"]].to_memory()
    same(whole, anndata.read_h5ad(path)[:, ["CD79A"]].to_memory())


async def test_files_of_cell_ranger_come_back_as_scanpy_reads_them(anywhere: inhaul.Instance, tmp_path: Path) -> None:
    folder = await asyncio.to_thread(datasets.generate_cell_ranger_files, "sample_001", tmp_path)
    await Artifact.from_dir(folder).save()
    matrix = await Artifact(folder / "filtered_feature_bc_matrix", key="matrix").save()
    assert matrix.n_objects == 3
    same(scanpy.read_10x_mtx(await matrix.cache()), scanpy.read_10x_mtx(folder / "filtered_feature_bc_matrix"))
    counts = await Artifact.filter(key__endswith="filtered_feature_bc_matrix.h5").one()
    same(scanpy.read_10x_h5(await counts.cache()), scanpy.read_10x_h5(folder / "filtered_feature_bc_matrix.h5"))
    opened = await counts.backed()
    with h5py.File(folder / "filtered_feature_bc_matrix.h5") as file:
        np.testing.assert_array_equal(await opened.read("matrix/data", slice(5, 50)), file["matrix/data"][5:50])
    await opened.close()


@pytest.mark.parametrize("name", ["iris.csv", "wine_data.csv", "digits.csv.gz", "diabetes_data_raw.csv.gz"])
async def test_csv_files_of_scikit_learn_load_as_pandas_reads_them(anywhere: inhaul.Instance, name: str) -> None:
    artifact = await stored(SKLEARN / "data" / name)
    assert artifact.accessor == "DataFrame"
    pd.testing.assert_frame_equal(await artifact.load(), pd.read_csv(SKLEARN / "data" / name))


async def test_options_go_to_the_reader(instance: inhaul.Instance) -> None:
    artifact = await stored(SKLEARN / "data" / "digits.csv.gz")
    digits = await artifact.load(is_run_input=False, header=None)
    np.testing.assert_array_equal(digits.to_numpy()[:, :-1], sklearn.datasets.load_digits().data)
    with pytest.raises(TypeError, match="colour"):
        await artifact.load(colour="red")


async def test_images_load_as_scikit_learn_and_scikit_image_read_them(anywhere: inhaul.Instance) -> None:
    for name in ("china.jpg", "flower.jpg"):
        pixels = await (await stored(SKLEARN / "images" / name)).load()
        np.testing.assert_array_equal(pixels, sklearn.datasets.load_sample_image(name))
    names = ("coffee.png", "camera.png", "chessboard_RGB.png", "color.png", "rocket.jpg", "multipage.tif")
    for name in names:
        pixels = await (await stored(SKIMAGE / name)).load()
        seen = skimage.io.imread(SKIMAGE / name)
        # scikit-image keeps only the upper half of colours with 16 bits.
        np.testing.assert_array_equal(pixels if pixels.dtype == seen.dtype else pixels >> 8, seen)


_TILEDB = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, tiledb, tiledbsoma
import inhaul.sync as ih

numbers = np.arange(12.0).reshape(3, 4)
tiledb.from_numpy("numbers.tiledb", numbers)
cells = pa.table({"soma_joinid": pa.array([0, 1, 2], pa.int64()), "kind": ["T", "B", "NK"]})
with tiledbsoma.DataFrame.create("cells.tiledbsoma", schema=cells.schema, domain=[(0, 2)]) as frame:
    frame.write(cells)
with ih.connect(sys.argv[1], "sqlite:///registry.db"):
    array = ih.Artifact("numbers.tiledb", key="numbers.tiledb").save()
    with array.load() as opened:
        assert (opened[:] == numbers).all()
    with ih.Artifact("cells.tiledbsoma", key="cells.tiledbsoma").save().load() as opened:
        assert opened.read(column_names=["soma_joinid", "kind"]).concat().to_pydict() == cells.to_pydict()
    for suffix in ("tiledb", "tiledbsoma"):
        Path("broken." + suffix).write_bytes(b"broken")
        broken = ih.Artifact("broken." + suffix, key="broken." + suffix).save()
        try:
            broken.load()
            raise AssertionError
        except ValueError as error:
            assert suffix in str(error)
    try:
        backed = array.backed()
        assert (backed.read("", slice(1, 2)) == numbers[1:2]).all()
        for name, index, error in (("none", (), KeyError), ("", "x", ValueError)):
            try:
                backed.read(name, index)
                raise AssertionError
            except error as told:
                assert ".tiledb" in str(told)
        backed.close()
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize("place", ["local", "s3"])
def test_stores_of_tiledb_load(request: pytest.FixtureRequest, place: str) -> None:
    """It runs in its own process, because a process that has loaded TileDB must not fork."""
    root = "storage" if place == "local" else request.getfixturevalue("s3_root")
    done = subprocess.run([sys.executable, "-c", _TILEDB, root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("load() opens a copy" in done.stdout) == (place == "s3")


async def test_a_palette_becomes_colours(instance: inhaul.Instance, tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([1, 0])
    image.save(tmp_path / "two.png")
    assert (await (await stored(tmp_path / "two.png")).load()).tolist() == [[[0, 0, 255], [255, 0, 0]]]


TABLE = pd.DataFrame({"gene": ["a", "b"], "count": [1, 2]})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", lambda path: TABLE.to_csv(path, index=False)),
        ("t.csv.gz", lambda path: TABLE.to_csv(path, index=False)),
        ("t.tsv", lambda path: TABLE.to_csv(path, index=False, sep="\t")),
        ("t.tsv.gz", lambda path: TABLE.to_csv(path, index=False, sep="\t")),
        ("t.parquet", TABLE.to_parquet),
        ("t.feather", TABLE.to_feather),
        ("t.ipc", TABLE.to_feather),
    ],
)
async def test_tables_load_as_they_were_written(
    instance: inhaul.Instance, tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    paths = [tmp_path / name]
    if not name.endswith(".gz"):
        paths.append(tmp_path / f"{name}.gz")
        paths[1].write_bytes(gzip.compress(paths[0].read_bytes()))
    for path in paths:
        artifact = await stored(path)
        assert artifact.accessor == "DataFrame"
        assert artifact.n_observations == (2 if path.suffix == ".parquet" else None)
        pd.testing.assert_frame_equal(await artifact.load(), TABLE)


@pytest.mark.parametrize(
    ("name", "text", "loaded"),
    [
        ("a.json", '{"x": [1, 2]}', {"x": [1, 2]}),
        ("a.yaml", "x: [1, 2]", {"x": [1, 2]}),
        ("a.yml", yaml.safe_dump({"x": "grüße"}), {"x": "grüße"}),
        ("a.txt", "grüße", "grüße"),
        ("a.md", "# t", "# t"),
    ],
)
async def test_documents_load_as_they_were_written(
    instance: inhaul.Instance, tmp_path: Path, name: str, text: str, loaded: object
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert await (await stored(tmp_path / name)).load() == loaded


@pytest.mark.parametrize("name", ["a.html", "a.fastq", "a.vcf", "a.fcs", "a.unknown", "a"])
async def test_what_nothing_loads_is_a_path(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("@r")
    artifact = await stored(tmp_path / name)
    assert await artifact.load() == artifact.path
    with pytest.raises(TypeError, match="no reader"):
        await artifact.load(encoding="ascii")


@pytest.fixture(params=[2, 3])
def anndata_zarr(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[anndata.AnnData, Path]:
    """An AnnData, and its zarr store of each version, whose name does not tell what it holds."""
    adata = datasets.anndata_pbmc68k_reduced()
    path = tmp_path / f"cells{request.param}.zarr"
    with anndata.settings.override(zarr_write_format=request.param, auto_shard_zarr_v3=False):
        anndata.io.write_elem(zarr.open_group(path, mode="w", zarr_format=request.param), "/", adata)
    return adata, path


async def test_anndata_in_zarr_loads_under_every_suffix(
    instance: inhaul.Instance, anndata_zarr: tuple[anndata.AnnData, Path]
) -> None:
    adata, path = anndata_zarr
    shutil.make_archive(str(path), "zip", path)
    zrad = path.with_suffix(".zrad")
    path.rename(zrad)
    named = path.with_suffix(".anndata.zarr")
    shutil.copytree(zrad, path)
    shutil.copytree(zrad, named)
    for store in (path, zrad, named, path.with_name(f"{path.name}.zip")):
        artifact = await stored(store)
        assert (artifact.accessor, artifact.n_observations) == ("AnnData", 70)
        same(await artifact.load(), adata)


@pytest.mark.parametrize("version", [2, 3])
async def test_other_zarr_stores_load_read_only(instance: inhaul.Instance, tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("x/y", data=np.arange(6).reshape(2, 3))
    shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path / "a.zarr")
    for name in ("a.zarr", "a.zarr.zip"):
        artifact = await stored(tmp_path / name)
        assert (artifact.accessor, artifact.n_observations) == (None, None)
        loaded = await artifact.load()
        assert loaded["x/y"][:].tolist() == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(ValueError, match=r"read.only"):
            loaded["x/y"][0] = 1


async def test_hdf5_files_load_read_only(instance: inhaul.Instance, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/y"] = [1, 2]
    with await (await stored(tmp_path / "a.h5")).load() as loaded:
        assert loaded["x/y"][:].tolist() == [1, 2]
        assert loaded.mode == "r"
    datasets.anndata_with_obs().write_h5ad(tmp_path / "b.h5")
    artifact = await stored(tmp_path / "b.h5", accessor="AnnData")
    assert (await artifact.load()).shape == (40, 100)
    with pytest.raises(ValueError, match=r"accessor='MuData': '.h5ad' can be AnnData"):
        await Artifact(SCANPY / "10x_pbmc68k_reduced.h5ad", key="a.h5ad", accessor="MuData")


@pytest.mark.parametrize(
    ("key", "form", "suffix"),
    [
        ("a.h5ad", None, ".h5ad"),
        (None, None, ".h5ad"),
        (None, "zarr", ".anndata.zarr"),
        ("a.zarr", None, ".zarr"),
        ("a.zrad", "zarr", ".zrad"),
        ("a.anndata.zarr", None, ".anndata.zarr"),
    ],
)
async def test_an_anndata_in_memory_comes_back(
    instance: inhaul.Instance, key: str | None, form: str | None, suffix: str
) -> None:
    adata = datasets.anndata_pbmc68k_reduced()
    adata.obs["note"] = "text"
    text = adata.obs["note"].dtype
    artifact = Artifact.from_anndata(adata, key, "cells", format=form)
    assert await artifact.load() is adata
    await artifact.save()
    assert (artifact.suffix, artifact.accessor, artifact.n_observations) == (suffix, "AnnData", 70)
    assert artifact.path.is_dir() is (suffix != ".h5ad")
    again = await Artifact.get(artifact.uid)
    same(await again.load(), with_categories(adata))
    assert adata.obs["note"].dtype == text  # storing leaves it as it was
    assert await Artifact.from_anndata(adata.copy(), key, "cells", format=form) == artifact


async def test_other_objects_in_memory_come_back(instance: inhaul.Instance) -> None:
    mdata, untouched = datasets.mudata_papalexi21_subset(), datasets.mudata_papalexi21_subset()
    artifact = await Artifact.from_mudata(mdata, "a.h5mu").save()
    assert (artifact.suffix, artifact.accessor, artifact.n_observations) == (".h5mu", "MuData", 200)
    loaded = await artifact.load()
    assert loaded.shape == mdata.shape
    for name in mdata.mod:
        pd.testing.assert_frame_equal(mdata.mod[name].obs, untouched.mod[name].obs)  # storing leaves it as it was
        same(loaded.mod[name], with_categories(mdata.mod[name]))
    assert await Artifact.from_mudata(datasets.mudata_papalexi21_subset(), "a.h5mu") == artifact
    by_path = await Artifact.from_mudata(artifact.path, description="by its path")
    assert by_path == artifact

    table = datasets.df_iris_in_meter_batch1()
    first = await Artifact.from_df(table, description="iris").save()
    assert await Artifact.from_df(table.copy(), description="iris") == first
    pd.testing.assert_frame_equal(await first.load(), table)


@pytest.mark.parametrize(
    ("key", "mode", "with_raw"), [("a.h5ad", "r", True), ("a.h5ad", "r+", False), ("a.zarr", "r+", True)]
)
async def test_a_backed_anndata_stays_as_it_is(
    instance: inhaul.Instance, tmp_path: Path, key: str, mode: Any, with_raw: bool
) -> None:
    whole = datasets.anndata_pbmc68k_reduced()
    if with_raw:
        whole.raw = whole[:, :50].copy()
    for matrix in (sparse.csr_matrix(whole.X), whole.X):
        whole.X = matrix
        path = tmp_path / f"{type(matrix).__name__}.h5ad"
        whole.write_h5ad(path)
        backed = anndata.read_h5ad(path, backed=mode)
        x = backed.X
        backed.obs["note"] = whole.obs["note"] = "text"
        artifact = await Artifact.from_anndata(backed, key).save()
        await artifact.replace(backed)
        loaded = await (await Artifact.get(artifact.uid)).load()
        same(loaded, with_categories(whole))
        assert (loaded.raw is not None) is with_raw
        if with_raw:
            np.testing.assert_array_equal(dense(loaded.raw.X), dense(whole.raw.X))
        assert (backed.filename, backed.file.is_open, backed.file._filemode) == (path, True, mode)
        np.testing.assert_array_equal(dense(x[:]), dense(matrix))
        if key == "a.zarr":  # in the same chunks
            assert await Artifact.from_anndata(whole, key) == artifact
        if mode == "r+" and not with_raw:  # anndata cannot write others in place
            backed.write()
            assert list(anndata.read_h5ad(path).obs["note"]) == ["text"] * 70
        backed.file.close()


async def test_a_backed_mudata_stays_as_it_is(instance: inhaul.Instance, tmp_path: Path) -> None:
    whole = datasets.mudata_papalexi21_subset()
    whole["rna"].raw = whole["rna"][:, :5].copy()
    whole.write_h5mu(tmp_path / "a.h5mu")
    backed = mudata.read_h5mu(tmp_path / "a.h5mu", backed="r+")
    artifact = await Artifact.from_mudata(backed, "b.h5mu").save()
    loaded = await artifact.load()
    for name in whole.mod:
        same(loaded[name], with_categories(whole[name]))
    np.testing.assert_array_equal(dense(loaded["rna"].raw.X), dense(whole["rna"].raw.X))
    assert (backed.filename, backed.file.is_open) == (tmp_path / "a.h5mu", True)
    backed.file._file.create_group("writable")


async def test_nothing_is_left_in_the_temporary_folder(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    artifact = await Artifact.from_anndata(datasets.anndata_with_obs(), "a.h5ad")
    (content,) = (tmp_path / "tmp").iterdir()
    await artifact.save()
    _discarded()
    assert not content.exists()


@pytest.mark.parametrize("key", ["a.h5ad", "a.zarr"])
async def test_a_failed_write_leaves_nothing(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    adata = datasets.anndata_with_obs()
    adata.uns["what"] = object()
    with pytest.raises(Exception, match="what"):
        await Artifact.from_anndata(adata, key)
    _discarded()
    assert not list((tmp_path / "tmp").iterdir())


def _discarded() -> None:
    for thread in [thread for thread in threading.enumerate() if thread.name == "inhaul-discard"]:
        thread.join()


async def test_arguments_that_do_not_fit_the_data_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    adata = datasets.anndata_with_obs()
    with pytest.raises(ValueError, match="format='csv': a AnnData can be stored as 'h5ad' or 'zarr'"):
        Artifact(adata, key="a.h5ad", format="csv")
    with pytest.raises(ValueError, match="format='h5ad'"):
        Artifact(TABLE, key="a.parquet", format="h5ad")
    with pytest.raises(ValueError, match="format='h5ad'"):
        Artifact(tmp_path, key="a", format="h5ad")
    with pytest.raises(ValueError, match=r"'a.zarr' should end in '.h5ad'"):
        await Artifact(adata, key="a.zarr", format="h5ad")
    with pytest.raises(ValueError, match=r"accessor='AnnData': '.csv' can be DataFrame"):
        await Artifact.from_anndata(SKLEARN / "data" / "iris.csv", "a.csv")
    with pytest.raises(TypeError, match="Pass DataFrame, not AnnData"):
        Artifact.from_df(adata, "a.parquet")
    with pytest.raises(TypeError, match="Pass AnnData or a path, not DataFrame"):
        Artifact.from_anndata(TABLE, "a.h5ad")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Pass MuData or a path, not AnnData"):
        Artifact.from_mudata(adata, "a.h5mu")
    with pytest.raises(TypeError, match="colour"):
        Artifact.from_df(TABLE, "a.parquet", colour="red")
    with pytest.raises(ValueError, match="two columns '1'"):
        await Artifact.from_df(pd.DataFrame([[1, 2]], columns=["1", 1]), "a.parquet")
    assert await Artifact.filter(visibility=None).count() == 0


UNBROKEN = (".txt", ".md", ".tiledb", ".tiledbsoma")  # `_TILEDB` reads broken stores of TileDB
BROKEN = [suffix for suffix in SUFFIXES if suffix not in UNBROKEN]


@pytest.mark.parametrize("suffix", sorted(BROKEN))
async def test_broken_content_is_stored_and_named_when_it_is_loaded(
    instance: inhaul.Instance, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"\xff not: [it")
    artifact = await stored(path)
    assert artifact.n_observations is None
    with pytest.raises(ValueError, match=str(artifact.path)):
        await artifact.load()


@pytest.mark.parametrize("name", ["10x_pbmc68k_reduced.h5ad", "china.jpg", "coffee.png"])
async def test_half_a_file_is_named(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    (whole,) = [folder / name for folder in (SCANPY, SKLEARN / "images", SKIMAGE) if (folder / name).exists()]
    content = whole.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    artifact = await stored(tmp_path / name)
    with pytest.raises(ValueError, match=str(artifact.path)):
        await artifact.load()


async def test_a_broken_zarr_store_is_named(instance: inhaul.Instance, tmp_path: Path) -> None:
    for name, metadata in {"a.zarr": "{", "b.zarr": json.dumps({"attributes": {"encoding-type": "anndata"}})}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text(metadata)
        artifact = await stored(tmp_path / name)
        assert artifact.accessor == ("AnnData" if name == "b.zarr" else None)
        with pytest.raises(ValueError, match=str(artifact.path)):
            await artifact.load()


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("a.png", "PIL.Image", "images"),
        ("a.tif", "tifffile", "images"),
        ("a.h5mu", "mudata", "mudata"),
        ("a.tiledb", "tiledb", "tiledb"),
    ],
)
async def test_a_missing_library_says_what_to_install(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"x")
    artifact = await stored(tmp_path / name)
    with pytest.raises(MissingLibrary, match=rf'pip install "inhaul\[{extra}\]"'):
        await artifact.load()


@given(st.text(max_size=12), st.sampled_from(sorted(SUFFIXES)))
def test_a_suffix_that_loads_is_found_in_any_name(stem: str, suffix: str) -> None:
    stem = f"x{stem.replace('/', '')}"
    assert keys.suffix(stem + suffix) in (suffix, keys.suffix(f"a{keys.suffix(stem)}{suffix}"))
    assert keys.suffix("X" + suffix.upper()) == suffix


def test_each_suffix_has_a_loader_for_all_that_it_may_load_as_and_an_ingest_calls_it_the_same() -> None:
    for suffix, known in SUFFIXES.items():
        assert None not in [suffixes._loader(suffix, accessor) for accessor in known.accessors or (None,)]
        assert (keys.suffix(f"x{suffix}"), keys.accessor(suffix)) == (suffix, known.accessor)


@given(st.sampled_from(["h5ad", "zarr", None]), st.none() | st.text(max_size=20))
def test_what_is_in_memory_gets_a_suffix_of_its_format(form: str | None, name: str | None) -> None:
    wanted = keys.suffix(name or "")
    suffix = memory.suffix_of(ADATA, form, wanted)
    assert suffix in memory._FORMATS["AnnData"][form or "h5ad"] or suffix == wanted
    assert keys.suffix(f"data{suffix}") == suffix


ADATA = anndata.AnnData(np.zeros((1, 1)))


# `os._exit()`, because pyarrow sometimes aborts a process that ends right after it read a Parquet file.
ROW = """
import os, sys
from pathlib import Path
from inhaul.formats import known
known.SUFFIXES[".pq"] = known.Known("parquet", "DataFrame", is_backed=True)
known.BACKED[".pq"] = "parquet"
import pandas as pd
from inhaul.formats import memory, suffixes
table, path = pd.DataFrame({"a": [1, 2, 3]}), Path(sys.argv[1])
assert memory.suffix_of(table, None, ".pq") == ".pq"
memory.write(table, path, ".pq")
assert suffixes.observations(path, ".pq", "DataFrame") == 3
assert suffixes.load(path, ".pq", "DataFrame").equals(table)
os._exit(0)
"""


def test_a_suffix_of_a_known_form_is_one_row(tmp_path: Path) -> None:
    """Besides, the core records the accessor; `test_keys` compares its list."""
    subprocess.run([sys.executable, "-c", ROW, tmp_path / "a.pq"], check=True)
