"""Content that declares more than is stored is refused before it takes memory; the error names the size."""

import gzip
import io
import json
import re
import resource
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import imagecodecs
import mudata
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tifffile
import zarr
from PIL import Image
from pyarrow import parquet

import children
import inhaul.sync as ln
from inhaul.errors import NotEnoughMemory
from inhaul.formats import h5_sizes, measured, suffixes, zarr_sizes
from inhaul.formats.annotated import observations
from inhaul.formats.backed import open_backed
from inhaul.registry import asynchronous
from mudatas import pulling_nothing

HUGE = 1 << 28  # rows, pixels or the like that content declares
pytestmark = pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata")


def cells() -> ad.AnnData:
    adata = ad.AnnData(np.eye(4, dtype="f4"), obs=pd.DataFrame({"t": list("abcd")}, index=list("wxyz")))
    adata.obs["kind"] = pd.Categorical(list("abab"))
    adata.uns["text"] = "some text"
    return adata


def refused(path: Path, suffix: str, accessor: str, message: str) -> None:
    """Checks that every way to read a file refuses it, without taking the memory."""
    ways: list[Any] = [
        lambda: suffixes.load(path, suffix, accessor),
        lambda: measured.measured(path, accessor),
    ]
    if accessor in ("AnnData", "MuData"):
        ways.append(lambda: open_backed(path, suffix, accessor, str(path), asynchronous.classes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for way in ways:
        with pytest.raises(ValueError, match=rf"{path}.*{message}"):
            way()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def texts_of(content: bytes) -> list[int]:
    """Returns where an HDF5 file has the lengths of its texts: each before the address of the heap with its text."""
    found = []
    for heap in re.finditer(b"GCOL", content):
        for one in re.finditer(re.escape(struct.pack("<Q", heap.start())), content):
            length, _, number = struct.unpack_from("<IQI", content, one.start() - 4)
            if 0 < length < 100 and 0 < number < 100:
                found.append(one.start() - 4)
    return found


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_text_that_declares_more_than_its_hdf5_file_is_refused(tmp_path: Path, compression: str | None) -> None:
    cells().write_h5ad(tmp_path / "a.h5ad", compression=compression)
    content = (tmp_path / "a.h5ad").read_bytes()
    places = texts_of(content)
    assert len(places) > 30
    for place in places:
        longer = bytearray(content)
        longer[place + 3] = 0x10
        (tmp_path / "b.h5ad").write_bytes(longer)
        with h5py.File(tmp_path / "b.h5ad") as file, pytest.raises(ValueError, match=r"a text of 268,435,\d+ bytes"):
            h5_sizes.check_h5(file, tmp_path / "b.h5ad")
    refused(tmp_path / "b.h5ad", ".h5ad", "AnnData", r"would have a text of 268,435,\d+ bytes")
    with pytest.raises(ValueError, match=r"would have a text of 268,435,\d+ bytes"):
        observations(tmp_path / "b.h5ad", ".h5ad")


def test_a_heap_of_texts_without_an_end_is_refused(tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "a.h5ad")
    content = bytearray((tmp_path / "a.h5ad").read_bytes())
    place = content.index(b"GCOL") + 16
    while struct.unpack_from("<H", content, place) != (0,):  # up to what is free
        place += 16 + -(-struct.unpack_from("<Q", content, place + 8)[0] // 8) * 8
    content[place + 8 : place + 16] = bytes(8)
    (tmp_path / "a.h5ad").write_bytes(content)
    refused(tmp_path / "a.h5ad", ".h5ad", "AnnData", "the heap with its texts is damaged")


def test_values_of_variable_length_of_another_kind_are_refused(tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "a.h5ad")
    content = (tmp_path / "a.h5ad").read_bytes()
    kinds = [one.start() for one in re.finditer(re.escape(bytes.fromhex("1901010010000000")), content)]
    assert len(kinds) > 30
    for kind in kinds:
        other = bytearray(content)
        other[kind + 1] = 0x78
        (tmp_path / "b.h5ad").write_bytes(other)
        with h5py.File(tmp_path / "b.h5ad") as file, pytest.raises(ValueError, match="neither texts nor lists"):
            h5_sizes.check_h5(file, tmp_path / "b.h5ad")


FILTERS: list[dict[str, Any]] = [
    {},
    {"chunks": (2,)},
    {"chunks": (2,), "compression": "gzip", "shuffle": True},
    {"chunks": (2,), "compression": "lzf", "shuffle": True},
]
TEXTS = h5py.string_dtype()


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_lengths_of_texts_are_found(tmp_path: Path, filters: dict[str, Any]) -> None:
    rows = [(True, "a", 2.0, ["b", "cc"]), (True, "a" * 100, 2.0, ["", "d" * 50]), (False, "e", 1.0, ["f", "g"])]
    kinds = [("bool", "?"), ("text", TEXTS), ("number", "f8"), ("texts", TEXTS, (2,))]
    lists = np.array([np.arange(3), np.arange(7), np.arange(0)], object)
    arrays = {
        "texts": (np.array(["a", "b" * 100, "c"], TEXTS), [1, 100, 1]),
        "lists": (lists.astype(h5py.vlen_dtype("i4")), [3, 7]),
        "rows": (np.array(rows, kinds), [1, 100, 1, 1, 2, 50, 1, 1]),
        "aligned": (np.array(rows, np.dtype(kinds, align=True)), [1, 100, 1, 1, 2, 50, 1, 1]),
    }
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, (values, _) in arrays.items():
            file.create_dataset(name, data=values, **filters)
    with h5py.File(tmp_path / "a.h5") as file, (tmp_path / "a.h5").open("rb") as raw:
        for name, (_, lengths) in arrays.items():
            texts = b"".join(h5_sizes._texts_of(raw, file[name].id))
            assert sorted(filter(None, np.frombuffer(texts, "<u4")[::4])) == sorted(lengths), name
        h5_sizes.check_h5(file, tmp_path / "a.h5")


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_part_of_a_heap_that_ends_after_it_is_refused(tmp_path: Path, filters: dict[str, Any]) -> None:
    """The library would search such a heap for ever."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("texts", data=[f"text {number}" for number in range(40)], dtype=TEXTS, **filters)
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[content.index(b"text 33") - 8] = 211
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path}/a.h5 cannot be opened as .h5.*heap with its texts is damaged"):
        open_backed(tmp_path / "a.h5", ".h5", None, str(tmp_path / "a.h5"), asynchronous.classes)


def test_an_hdf5_file_with_arrays_that_are_not_stored_is_opened(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("empty", (1 << 40,), "i8", chunks=(1000,))
    opened = open_backed(tmp_path / "a.h5", ".h5", None, "a.h5", asynchronous.classes)
    assert opened._read("empty", slice(3, 5)).tolist() == [0, 0]


def test_an_hdf5_array_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    for name, accessor in {"a.h5ad": "AnnData", "a.h5mu": "MuData"}.items():
        with pulling_nothing():
            cells().write_h5ad(tmp_path / name) if accessor == "AnnData" else mudata.MuData(
                {"rna": cells()}
            ).write_h5mu(tmp_path / name)
        group = "" if accessor == "AnnData" else "mod/rna/"
        with h5py.File(tmp_path / name, "r+") as file:
            made = file.create_dataset(f"{group}layers/x", (HUGE, 4), "f4", chunks=(4, 4), compression="gzip")
            made[:4] = 1
        refused(tmp_path / name, Path(name).suffix, accessor, rf"{group}layers/x would take {HUGE * 16:,} bytes")
    cells().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        # To read a part of a chunk, all of it must be in memory.
        file["obs"].create_dataset("chunk", (4,), "f4", chunks=(HUGE,), maxshape=(None,), compression="gzip")
    refused(tmp_path / "a.h5ad", ".h5ad", "AnnData", rf"obs/chunk would take {HUGE * 4:,} bytes")


def test_an_hdf5_array_with_too_many_chunks_for_its_bytes_is_refused(tmp_path: Path) -> None:
    """The array itself would be small, but the library lists all chunks before it reads one."""
    cells().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file.create_dataset("layers/x", (4, 1 << 22), "u1", chunks=(4, 4), compression="lzf")[:, :4] = 1
    refused(tmp_path / "a.h5ad", ".h5ad", "AnnData", rf"The list of chunks of layers/x would take {4096 << 20:,} bytes")


def test_an_hdf5_array_on_s3_that_declares_too_much_is_refused(s3_root: str, tmp_path: Path) -> None:
    cells().write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file.create_dataset("layers/x", (HUGE, 4), "f4", chunks=(4, 4), compression="gzip")[:4] = 1
    with ln.connect(s3_root, f"sqlite:///{tmp_path}/registry.db"):
        artifact = ln.Artifact(tmp_path / "a.h5ad", key="a.h5ad").save()
        with pytest.raises(ValueError, match=rf"{artifact.uid}.*layers/x would take {HUGE * 16:,} bytes"):
            artifact.backed()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_zarr_chunk_that_declares_too_much_is_refused(tmp_path: Path, version: int, zipped: bool) -> None:
    path = tmp_path / "a.zarr"
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=version), "/", cells())
    metadata = path / "X" / (".zarray" if version == 2 else "zarr.json")
    node = json.loads(metadata.read_text())
    if version == 2:
        node["chunks"] = [HUGE, 4]
    else:
        node["chunk_grid"]["configuration"]["chunk_shape"] = [HUGE, 4]
    metadata.write_text(json.dumps(node))
    suffix = ".zarr"
    if zipped:
        path, suffix = Path(shutil.make_archive(str(path), "zip", path)), ".zarr.zip"
    refused(path, suffix, "AnnData", f"a chunk of X would take {HUGE * 16:,} bytes of memory")


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_chunk_that_declares_too_many_texts_is_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    with ad.settings.override(auto_shard_zarr_v3=False):
        root = zarr.open_group(path, mode="w", zarr_format=version)
        ad.io.write_elem(root, "/", cells(), dataset_kwargs={"compressor" if version == 2 else "compressors": None})
    [chunk] = [one for one in (path / "obs" / "_index").rglob("*") if one.name == "0"]
    content = bytearray(chunk.read_bytes())
    assert struct.unpack_from("<I", content) == (4,)
    content[3] = 0x10
    chunk.write_bytes(content)
    refused(path, ".zarr", "AnnData", "obs/_index(/values)? would have 268,435,460 texts")


@pytest.mark.filterwarnings("ignore:The data type:zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("version", [2, 3])
def test_records_are_read(tmp_path: Path, version: int) -> None:
    adata = cells()
    adata.obsm["records"] = np.zeros(4, dtype=[("x", "U3"), ("y", "i4")])
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version), "/", adata)
    loaded = suffixes.load(tmp_path / "a.zarr", ".zarr", "AnnData")
    assert loaded.obsm["records"].dtype.names == ("x", "y")


def test_a_shard_may_have_chunks_that_are_not_stored(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    with ad.settings.override(auto_shard_zarr_v3=True):
        ad.io.write_elem(root, "/", cells())
    layer = root["layers"].create_array("x", shape=(4, HUGE), dtype="f4", chunks=(4, 4096), shards=(4, HUGE))
    layer[:, :4] = 1
    layer.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    zarr_sizes.check_zarr(tmp_path / "a.zarr")


def test_an_image_that_declares_too_many_pixels_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16), "u1")
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(HUGE)
    with pytest.raises(ValueError, match=rf"a\.tif.*The image would take {HUGE * 16:,} bytes of memory"):
        suffixes.load(tmp_path / "a.tif", ".tif", None)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    start = content.index(b"\xff\xc0") + 5  # of the frame: height and width
    content[start : start + 4] = struct.pack(">HH", 16_000, 16_000)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg.*(would take|exceeds limit)"):
        suffixes.load(tmp_path / "a.jpg", ".jpg", None)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_png_file_of_16_bits_that_declares_too_many_pixels_is_refused(tmp_path: Path, channels: int) -> None:
    content = bytearray(imagecodecs.png_encode(np.zeros((16, 16, channels), "u2")))
    content[16:24] = struct.pack(">II", 16_000, 16_000)  # width and height
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png.*The image would take {16_000**2 * channels * 2:,} bytes of memory"):
        suffixes.load(tmp_path / "a.png", ".png", None)


def test_what_lacks_memory_names_the_file(tmp_path: Path) -> None:
    pd.DataFrame({"n": range(1000)}).to_feather(tmp_path / "a.feather", compression="lz4")
    content = bytearray((tmp_path / "a.feather").read_bytes())
    start = content.index(struct.pack("<q", 8000))  # the size of the column before it was compressed
    content[start : start + 8] = struct.pack("<q", 1 << 60)
    (tmp_path / "a.feather").write_bytes(content)
    with pytest.raises(NotEnoughMemory, match=rf"a\.feather cannot be read .*{1 << 60}"):
        suffixes.load(tmp_path / "a.feather", ".feather", "DataFrame")


def test_what_compresses_well_is_read(tmp_path: Path) -> None:
    """220 MB of zeros, which take far less room in the file."""
    adata = ad.AnnData(obs=pd.DataFrame(index=[f"c{n}" for n in range(200)]))
    adata.obsm["zeros"] = np.zeros((200, 1_100_000), "i1")
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    assert suffixes.load(tmp_path / "a.h5ad", ".h5ad", "AnnData").obsm["zeros"].shape == (200, 1_100_000)
    ad.io.write_elem(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2), "/", adata)
    assert suffixes.load(tmp_path / "a.zarr", ".zarr", "AnnData").obsm["zeros"].shape == (200, 1_100_000)


def bomb(path: Path) -> None:
    """Writes a parquet file whose footer names the same rows again and again: 2^37 rows."""
    table = pa.table({"n": np.zeros(1 << 24), "m": np.zeros(1 << 24, "i1")})
    parquet.write_table(table, path, row_group_size=1 << 24)
    metadata = parquet.read_metadata(path)
    footer = io.BytesIO()
    for _ in range(13):
        metadata.append_row_groups(metadata)
    metadata.write_metadata_file(footer)
    path.write_bytes(path.read_bytes() + footer.getvalue()[4:])


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz", "folder.parquet"])
def test_a_parquet_file_that_memory_has_no_room_for_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    bomb(tmp_path / "bomb")
    if name.startswith("folder"):
        path.mkdir()
        (tmp_path / "bomb").rename(path / "part.parquet")
    else:
        content = (tmp_path / "bomb").read_bytes()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    suffix = "".join(Path(name).suffixes)
    for options, size in ({}, 9 << 37), ({"columns": ["n"]}, 8 << 37):
        with pytest.raises(
            NotEnoughMemory, match=rf"{path} cannot be read as .*at least {size:,} bytes, and [\d,]+ are"
        ):
            suffixes.load(path, suffix, "DataFrame", **options)


LOAD = """
import resource, sys
from pathlib import Path
import pandas
from inhaul.errors import NotEnoughMemory
from inhaul.formats import suffixes
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (300 << 20),) * 2)
for name, suffix in ("a.csv.gz", ".csv.gz"), ("a.tsv.gz", ".tsv.gz"), ("a.feather.gz", ".feather.gz"):
    try:
        suffixes.load(Path(sys.argv[1], name), suffix, "DataFrame")
    except NotEnoughMemory as error:
        assert f"{name} cannot be read as {suffix}" in str(error) and "would take at least" in str(error), error
    else:
        raise AssertionError(name)
assert len(suffixes.load(Path(sys.argv[1], "a.csv.gz"), ".csv.gz", "DataFrame", nrows=3)) == 3
"""


def test_a_compressed_file_that_memory_has_no_room_for_is_not_read(tmp_path: Path) -> None:
    part = gzip.compress(b"1,2\n" * (4 << 20))
    for name in ("a.csv.gz", "a.tsv.gz", "a.feather.gz"):
        (tmp_path / name).write_bytes(part * 30)  # 480 MB
    done = children.run(LOAD, str(tmp_path))
    assert (done.returncode, done.stderr[-500:]) == (0, "")
