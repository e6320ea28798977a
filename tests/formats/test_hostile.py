"""Content is refused by name if it makes a reader open other files, run code or end the process."""

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import zarr

import children
import inhaul
from inhaul import Artifact, Collection
from mudatas import pulling_nothing

pytestmark = [
    pytest.mark.filterwarnings("ignore:Not registered as features:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata"),
]


def link(file: h5py.File, group: str, other: Path) -> None:
    file[f"{group}/stolen"] = h5py.ExternalLink(str(other), "/secret")


def external(file: h5py.File, group: str, other: Path) -> None:
    file.create_dataset(f"{group}/stolen", (4,), "u1", external=[(str(other), 0, 4)])


def virtual(file: h5py.File, group: str, other: Path) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="i8")
    layout[:] = h5py.VirtualSource(str(other), "secret", shape=(4,))
    file.create_virtual_dataset(f"{group}/stolen", layout)


@pytest.mark.parametrize("steal", [link, external, virtual])
async def test_an_hdf5_file_reads_no_other_file(
    instance: inhaul.Instance, tmp_path: Path, steal: Callable[[h5py.File, str, Path], None]
) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(4)
    adata = ad.AnnData(np.eye(4, dtype="f4"))
    adata.write_h5ad(tmp_path / "a.h5ad")
    shutil.copy(tmp_path / "a.h5ad", tmp_path / "a.h5")
    with pulling_nothing():
        mudata.MuData({"rna": adata}).write_h5mu(tmp_path / "a.h5mu")
    for name, group in {"a.h5ad": "obsm", "a.h5": "uns", "a.h5mu": "mod/rna/obsm"}.items():
        with h5py.File(tmp_path / name, "r+") as file:
            steal(file, group, other)
        artifact = await Artifact(tmp_path / name, key=f"in/{name}").save()
        for way in (artifact.load, artifact.backed):
            with pytest.raises(ValueError, match=rf"{artifact.uid}.*stolen lies in another file, '{other}'"):
                await way()
    with pytest.raises(ValueError, match="stolen lies in another file"):
        await Artifact.from_anndata(tmp_path / "a.h5ad", "b.h5ad").save()
    collection = await Collection([await Artifact.filter(key="in/a.h5ad").one()], "all").save()
    with pytest.raises(ValueError, match="stolen lies in another file"):
        await collection.mapped()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["a.zarr", "a.anndata.zarr", "a.zarr.zip"])
async def test_a_zarr_store_runs_no_code(instance: inhaul.Instance, tmp_path: Path, name: str, version: int) -> None:
    folder = tmp_path / ("z" if name.endswith(".zip") else name)
    root = zarr.open_group(folder, mode="w", zarr_format=version)
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(root, "/", ad.AnnData(np.eye(4, dtype="f4")))
    metadata = folder / "X" / (".zarray" if version == 2 else "zarr.json")
    content = json.loads(metadata.read_text())
    if version == 2:
        content["filters"] = [{"id": "pickle", "protocol": 5}]
    else:
        content["codecs"].append({"name": "numcodecs.pickle", "configuration": {}})
    metadata.write_text(json.dumps(content).replace("pickle", "\\u0070ickle"))
    if name.endswith(".zip"):
        shutil.make_archive(str(tmp_path / "a.zarr"), "zip", folder)
    artifact = await Artifact(tmp_path / name, key=f"in/{name}", accessor="AnnData").save()
    for way in (artifact.load, artifact.backed):
        with pytest.raises(ValueError, match=rf"{artifact.uid}.*runs code|{artifact.uid}.*pickle"):
            await way()


async def test_a_zarr_store_on_s3_runs_no_code(s3_root: str, tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.create_array("x", data=np.arange(4))
    content = json.loads((tmp_path / "a.zarr/x/.zarray").read_text())
    content |= {"dtype": "|O", "fill_value": None, "filters": [{"id": "pickle", "protocol": 5}]}
    (tmp_path / "a.zarr/x/.zarray").write_text(json.dumps(content))
    async with inhaul.connect(s3_root, f"sqlite:///{tmp_path}/registry.db"):
        artifact = await Artifact(tmp_path / "a.zarr", key="a.zarr").save()
        with pytest.raises(ValueError, match="pickle"):
            await artifact.backed()


LOAD = """
import asyncio, sys
from pathlib import Path
from inhaul.formats.suffixes import load
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        load(path, path.suffix, "DataFrame")
    except ValueError as error:
        assert str(path) in str(error)
"""


def test_a_damaged_feather_file_ends_no_process(tmp_path: Path) -> None:
    table = pd.DataFrame({"t": [f"text {n}" for n in range(200)], "c": pd.Categorical(["a", "b"] * 100)})
    table.to_feather(tmp_path / "whole", compression="uncompressed")
    content = (tmp_path / "whole").read_bytes()
    rng = random.Random(0)
    (tmp_path / "damaged").mkdir()
    for number in range(150):
        damaged = bytearray(content)
        place = rng.randrange(len(content))
        damaged[place : place + 4] = rng.randbytes(4)
        (tmp_path / "damaged" / f"{number:03}.feather").write_bytes(damaged)
    done = children.run(LOAD, str(tmp_path / "damaged"))
    assert (done.returncode, done.stderr[-500:]) == (0, "")


async def test_reading_a_damaged_file_in_part_names_it(instance: inhaul.Instance, tmp_path: Path) -> None:
    adata = ad.AnnData(np.random.RandomState(0).rand(100, 100))
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    with h5py.File(tmp_path / "a.h5ad") as file:
        place = file["X"].id.get_chunk_info(0).byte_offset
    with (tmp_path / "a.h5ad").open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\xff" * 50)
    artifact = await Artifact(tmp_path / "a.h5ad", key="in/a.h5ad").save()
    accessor = await artifact.backed()
    with pytest.raises(ValueError, match=rf"{artifact.path}: /X cannot be read"):
        await accessor.to_memory()
    with pytest.raises(ValueError, match=rf"{artifact.path}: /X cannot be read"):
        await accessor.X[:3].to_memory()
    opened = await (await Artifact(tmp_path / "a.h5ad", key="in/a.h5ad").save()).backed()
    await opened.close()
    (tmp_path / "a.h5ad").rename(tmp_path / "a.h5")
    other = await Artifact(tmp_path / "a.h5", key="in/a.h5").save()
    plain = await other.backed()
    with pytest.raises(ValueError, match=rf"{other.path}: X cannot be read"):
        await plain.read("X")
    mapped = await (await Collection([artifact], "one").save()).mapped()
    with pytest.raises(ValueError, match=rf"{artifact.path} cannot be read"):
        await asyncio.to_thread(mapped.__getitem__, 0)


def test_a_parquet_file_with_a_damaged_footer_ends_no_process(tmp_path: Path) -> None:
    """Its schema says that a column has no missing values, its statistics count them."""
    pd.DataFrame({"t": ["a", "b"], "n": [1, 2]}).to_parquet(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    place = content.index(b"\x15\x0c\x25\x02\x18\x01t") + 3
    (tmp_path / "damaged").mkdir()
    for number, byte in enumerate((0, 119)):
        damaged = content[:place] + bytes([byte]) + content[place + 1 :]
        (tmp_path / "damaged" / f"{number}.parquet").write_bytes(damaged)
    done = children.run(LOAD, str(tmp_path / "damaged"))
    assert (done.returncode, done.stderr[-500:]) == (0, "")
