"""Images, documents and tables of less common forms are read, if other programs read them."""

import asyncio
import json
from pathlib import Path

import anndata as ad
import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from pyarrow import feather

import inhaul
from inhaul import Artifact, Collection


async def stored(path: Path) -> Artifact:
    return await Artifact(path, key=f"in/{path.name}").save()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_a_png_file_keeps_16_bits(instance: inhaul.Instance, tmp_path: Path, channels: int) -> None:
    pixels = np.arange(2 * 3 * channels, dtype=np.uint16).reshape(2, 3, channels) * 1000 + 1
    pixels = pixels[..., 0] if channels == 1 else pixels
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    loaded = await (await stored(tmp_path / "a.png")).load()
    np.testing.assert_array_equal(loaded, pixels)


@pytest.mark.parametrize("compression", ["lzw", "jpeg", "deflate", "zstd", "packbits"])
async def test_compressed_tiff_files_are_read(instance: inhaul.Instance, tmp_path: Path, compression: str) -> None:
    pixels = np.random.RandomState(0).randint(0, 255, (32, 32, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression, photometric="rgb")
    loaded = await (await stored(tmp_path / "a.tif")).load()
    np.testing.assert_array_equal(loaded, tifffile.imread(tmp_path / "a.tif"))


async def test_a_fax_is_read(instance: inhaul.Instance, tmp_path: Path) -> None:
    Image.fromarray(np.eye(32) > 0).save(tmp_path / "a.tif", compression="group4")
    loaded = await (await stored(tmp_path / "a.tif")).load()
    np.testing.assert_array_equal(np.asarray(loaded) > 0, np.eye(32) > 0)


OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0" Name="a"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="4" SizeY="4" SizeZ="1"
 SizeC="2" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><Channel ID="Channel:0:1" SamplesPerPixel="1"/>
<TiffData IFD="0" FirstC="0"><UUID FileName="{first}">urn:uuid:{a}</UUID></TiffData>
<TiffData IFD="{ifd}" FirstC="1"><UUID FileName="{second}">urn:uuid:{b}</UUID></TiffData></Pixels></Image></OME>"""


@pytest.mark.filterwarnings("ignore::UserWarning:tifffile")
async def test_an_ome_tiff_of_several_files_is_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    names = {"first": "c0.ome.tif", "second": "c1.ome.tif", "a": "aaaa", "b": "bbbb", "ifd": 0}
    for name, own in {"c0.ome.tif": "aaaa", "c1.ome.tif": "bbbb"}.items():
        tifffile.imwrite(
            tmp_path / name, np.full((4, 4), 7, "u1"), description=OME.format(own=own, **names), metadata=None
        )
    artifact = await stored(tmp_path / "c0.ome.tif")
    with pytest.raises(ValueError, match=r"planes are in other files, 'c1.ome.tif': store their folder"):
        await artifact.load()
    pixels = np.arange(512, dtype="u2").reshape(2, 16, 16)
    tifffile.imwrite(tmp_path / "own.ome.tif", pixels, photometric="minisblack", metadata={"axes": "CYX"})
    np.testing.assert_array_equal(await (await stored(tmp_path / "own.ome.tif")).load(), pixels)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
async def test_json_is_read_in_every_encoding(instance: inhaul.Instance, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"x": "grüße"}, ensure_ascii=False), encoding=encoding)
    assert await (await stored(tmp_path / "a.json")).load() == {"x": "grüße"}


@pytest.mark.filterwarnings("ignore:.*[Ff]eather.*")
async def test_the_first_version_of_feather_is_opened(instance: inhaul.Instance, tmp_path: Path) -> None:
    table = pd.DataFrame({"t": ["a", "b"], "n": [1, 2]})
    feather.write_feather(table, tmp_path / "a.feather", version=1)
    artifact = await stored(tmp_path / "a.feather")
    pd.testing.assert_frame_equal(await artifact.load(), table)
    opened = await artifact.backed()
    assert (await asyncio.to_thread(opened.to_table)).to_pandas().equals(table)


async def test_what_cannot_be_mapped_is_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    members = []
    for name in ("a", "b"):
        adata = ad.AnnData(np.eye(2, dtype="f4"), obs=pd.DataFrame({"n": [1, 2]}, index=["c", "d"]))
        adata.var_names = [f"{name}1", f"{name}2"]
        members.append(await Artifact(adata, key=f"{name}.h5ad").save())
    collection = await Collection(members, "both").save()
    with pytest.raises(ValueError, match="have no variable in common: pass join='outer'"):
        await collection.mapped()
    with pytest.raises(TypeError, match=r"pass a list of names, such as \['n'\]"):
        await collection.mapped("n", join="outer")
    mapped = await collection.mapped(["n"], join="outer")
    assert mapped.shape == (4, 4)
    mapped.close()
