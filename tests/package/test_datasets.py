"""Sample data: the same with every call, and real enough for the libraries that read it."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scanpy
from sklearn.datasets import load_iris

import inhaul
import inhaul.sync as ln
from inhaul import datasets

HEAD = """\
   sepal_length  sepal_width  petal_length  petal_width  iris_organism_code
0         0.051        0.035         0.014        0.002                   0
1         0.049        0.030         0.014        0.002                   0
2         0.047        0.032         0.013        0.002                   0
3         0.046        0.031         0.015        0.002                   0
4         0.050        0.036         0.014        0.002                   0"""


def test_irises_are_those_that_others_ship() -> None:
    batches = [datasets.df_iris_in_meter_batch1(), datasets.df_iris_in_meter_batch2()]
    assert str(batches[0].head()) == HEAD
    assert [len(batch) for batch in batches] == [75, 75]
    iris, published = pd.concat(batches), load_iris()
    np.testing.assert_allclose(iris.to_numpy()[:, :4] * 100, published.data)
    np.testing.assert_array_equal(iris["iris_organism_code"], published.target)


def test_annotated_matrices_are_the_same_with_every_call() -> None:
    assert datasets.anndata_with_obs().shape == (40, 100)
    assert list(datasets.anndata_with_obs().obs) == ["cell_type_id", "cell_type", "tissue", "disease"]
    one, two = datasets.anndata_pbmc68k_reduced(), datasets.anndata_pbmc68k_reduced()
    assert one.shape == (70, 765)
    assert one.obs_names.is_unique
    assert one.var_names.is_unique
    np.testing.assert_array_equal(one.X, two.X)
    pd.testing.assert_frame_equal(one.obs, two.obs)
    mdata = datasets.mudata_papalexi21_subset()
    assert {name: adata.shape for name, adata in mdata.mod.items()} == {
        "rna": (200, 173),
        "adt": (200, 4),
        "hto": (200, 12),
        "gdo": (200, 111),
    }


def test_an_image_is_written_to_the_current_folder() -> None:
    path = datasets.file_jpg_paradisi05()
    assert path.absolute().parent == Path.cwd()
    first = path.read_bytes()
    assert datasets.file_jpg_paradisi05().read_bytes() == first


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_cell_ranger_folder_is_read_by_scanpy(tmp_path: Path) -> None:
    folder = datasets.generate_cell_ranger_files("sample_001", tmp_path)
    assert folder == tmp_path / "sample_001"
    assert len(contents(folder)) == 18
    matrix = scanpy.read_10x_mtx(folder / "filtered_feature_bc_matrix", var_names="gene_ids")
    same = scanpy.read_10x_h5(folder / "filtered_feature_bc_matrix.h5")
    assert matrix.shape == same.shape == (10, 100)
    np.testing.assert_array_equal(matrix.X.toarray(), same.X.toarray())
    assert contents(datasets.generate_cell_ranger_files("sample_001", tmp_path / "again")) == contents(folder)
    with pytest.raises(FileExistsError):
        datasets.generate_cell_ranger_files("sample_001", tmp_path)


def test_a_cell_ranger_folder_is_registered(blocking_instance: ln.Instance) -> None:
    folder = ln.core.datasets.generate_cell_ranger_files("sample_001")
    artifacts = ln.Artifact.from_dir(folder).save()
    assert len(artifacts) == 18
    matrix = ln.Artifact.filter(key="sample_001/raw_feature_bc_matrix/matrix.mtx.gz").one()
    assert matrix.suffix == ".mtx.gz"
    metrics = ln.Artifact.filter(key="sample_001/metrics_summary.csv").one().load()
    assert metrics["Number of Genes"].tolist() == [100]


def test_sample_data_is_where_the_async_api_has_it_too() -> None:
    assert inhaul.datasets is ln.core.datasets
