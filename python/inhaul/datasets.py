"""Small sample data, generated on this machine: the same in every call, without network."""

import gzip
import json
from collections.abc import Iterable
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from inhaul.formats.libraries import library
from inhaul.texts import check_name

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData
    from scipy.sparse import csr_matrix

# Fisher's measurements of 50 irises of each of three species, in millimetres: two digits per flower. Each species has
# one line each for the length and width of the sepals and the length and width of the petals.
_IRIS = """
5149474650544650444954484843585754515751545146514850505252474854525549505549445150454450514851465350
3530323136393434293137343030404439353838343736333430343534323134414231323536303435233235383038323733
1414131514171415141515161411121513141715171510171916161514161615151415121314131513131316191416141514
0202020202040302020102020101020404030303020402050202040202020204010202020201020203030206040302020202
7064695565576349665250596061566756586256596163616466686760575555586054606763565555615850565757625157
3232312328283324292720302229293130272225322825282930283029262424272730343123302526302623273029292528
4745494046454733463935424047364445414539484049474344485045353837395145454744414044464033424242433041
1415151315131610131410151014131415101511181315121314141715101110121615161513131312141210131213131113
6358716365764973677265646857586465777760695677636772626164727479646361776364606967695868676763656259
3327302930302529253632273025283230382622322828273332283028302838282826303431303131312732333025303430
6051595658664563586151535550515355676950574967495760484956586164565156615655485456515159575250525451
2519211822211718182520192120242318222315232020182118181821161920221514232418182124231923252319202318
"""
_IRIS_COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")

_CELL_TYPES = (
    ("CL:0000084", "T cell", "kidney", "chronic kidney disease"),
    ("CL:0000037", "hematopoietic stem cell", "liver", "liver lymphoma"),
    ("CL:0000182", "hepatocyte", "heart", "cardiac ventricle disorder"),
    ("", "my new cell type", "brain", "Alzheimer disease"),
)
_BLOOD_CELLS = (
    "CD14+ Monocyte",
    "CD19+ B",
    "CD34+",
    "CD4+/CD45RO+ Memory",
    "CD56+ NK",
    "CD8+ Cytotoxic T",
    "Dendritic",
)


def generate_cell_ranger_files(sample: str, basedir: str | Path | None = None) -> Path:
    """Writes a folder like the output of 10x Genomics' Cell Ranger: 18 small files, with real matrices in them.

    Args:
        sample: The name of the folder.
        basedir: The folder in which to create it; None means the current folder.

    Returns:
        The folder.

    Raises:
        TypeError: The name is not a text.
        FileExistsError: The folder exists already.
        InvalidText: The name is empty, has more than 2,500 bytes in UTF-8, or holds a character that no database can
            store.
    """
    check_name("sample", sample)
    folder = Path(basedir or ".") / sample
    folder.mkdir(parents=True)
    counts = _counts(20, 100, seed=1)
    genes, barcodes = _genes(100), _barcodes(20)
    summary = {"Estimated Number of Cells": 20, "Number of Genes": 100, "Number of Counts": int(counts.sum())}

    _ten_x_matrix(folder / "raw_feature_bc_matrix", counts, genes, barcodes)
    _ten_x_matrix(folder / "filtered_feature_bc_matrix", counts[:10], genes, barcodes[:10])
    _ten_x_h5(folder / "raw_feature_bc_matrix.h5", counts, genes, barcodes)
    _ten_x_h5(folder / "filtered_feature_bc_matrix.h5", counts[:10], genes, barcodes[:10])
    _ten_x_h5(folder / "molecule_info.h5", counts, genes, barcodes)
    lines = [f"{barcode},{number % 3 + 1}" for number, barcode in enumerate(barcodes)]
    points = [f"{barcode},{number / 10},{number % 7 / 10}" for number, barcode in enumerate(barcodes)]
    for name, content in {
        "analysis/clustering/graphclust/clusters.csv": "\n".join(["Barcode,Cluster", *lines]),
        "analysis/pca/projection.csv": "\n".join(["Barcode,PC-1,PC-2", *points]),
        "analysis/umap/projection.csv": "\n".join(["Barcode,UMAP-1,UMAP-2", *points]),
        "metrics_summary.csv": ",".join(summary) + "\n" + ",".join(map(str, summary.values())),
        "metrics_summary.json": json.dumps(summary),
        "web_summary.html": f"<html><body><h1>{sample}</h1></body></html>",
        "cloupe.cloupe": f"{sample}: for a browser of cells",
        "possorted_genome_bam.bam": f"{sample}: aligned reads",
        "possorted_genome_bam.bam.bai": f"{sample}: index of the aligned reads",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")
    return folder


def df_iris_in_meter_batch1() -> "pd.DataFrame":
    """Returns the first half of the iris measurements: 75 flowers, lengths in metres, and a code of the species."""
    return _iris().iloc[:75]


def df_iris_in_meter_batch2() -> "pd.DataFrame":
    """Returns the second half of the iris measurements: 75 flowers, lengths in metres, and a code of the species."""
    return _iris().iloc[75:]


def anndata_with_obs() -> "AnnData":
    """Returns counts of 40 cells x 100 genes, with the type, tissue and disease of each cell."""
    import pandas as pd
    from anndata import AnnData

    obs = pd.DataFrame(
        [_CELL_TYPES[number % 4] for number in range(40)],
        index=[f"obs{number}" for number in range(40)],
        columns=["cell_type_id", "cell_type", "tissue", "disease"],
    )
    return AnnData(_counts(40, 100, seed=2), obs=obs, var=pd.DataFrame(index=_genes(100)))


def anndata_pbmc68k_reduced() -> "AnnData":
    """Returns 70 invented blood cells x 765 genes, like a well-known data set, with types, counts and embeddings."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    random = np.random.RandomState(3)
    counts = _counts(70, 765, seed=3)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    types = [_BLOOD_CELLS[number] for number in random.randint(0, len(_BLOOD_CELLS), 70)]
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(types), "n_counts": totals, "percent_mito": random.rand(70) / 20},
        index=_barcodes(70),
    )
    return AnnData(
        np.log1p(counts.toarray()),
        obs=obs,
        var=pd.DataFrame({"n_cells": np.asarray((counts > 0).sum(axis=0)).ravel()}, index=_genes(765)),
        obsm={"X_pca": random.randn(70, 50), "X_umap": random.randn(70, 2)},
        layers={"counts": counts},
    )


def mudata_papalexi21_subset() -> "MuData":
    """Returns 200 invented cells with RNA, proteins, hashtags and guide RNAs, like a well-known experiment.

    Raises:
        MissingLibrary: mudata is not installed.
    """
    import pandas as pd
    from anndata import AnnData

    mudata = library("mudata", "mudata")
    obs = pd.DataFrame({"replicate": [f"rep{number % 3 + 1}" for number in range(200)]}, index=_barcodes(200))
    sizes = {"rna": 173, "adt": 4, "hto": 12, "gdo": 111}
    modalities = {
        name: AnnData(
            _counts(200, size, seed=size),
            obs=obs.add_prefix(f"{name}_"),
            var=pd.DataFrame(index=_genes(size) if name == "rna" else [f"{name}-{number}" for number in range(size)]),
        )
        for name, size in sizes.items()
    }
    # Before 0.4, mudata by default copies columns of the modalities, and warns that this will change.
    options = getattr(mudata, "set_options", None)
    with options(pull_on_update=False) if options else nullcontext():
        mdata: MuData = mudata.MuData(modalities)
    return mdata


def file_jpg_paradisi05() -> Path:
    """Writes an image of stained nuclei, drawn as ellipses, to the current folder, also over an earlier one.

    Returns:
        Its path, relative to the current folder.

    Raises:
        MissingLibrary: pillow is not installed.
    """
    import numpy as np

    image = library("PIL.Image", "images").new("RGB", (480, 320))
    draw = library("PIL.ImageDraw", "images").Draw(image)
    random = np.random.RandomState(5)
    for x, y, width, height, shade in random.randint(
        (0, 0, 25, 25, 90), (480, 320, 70, 70, 255), size=(40, 5)
    ).tolist():
        draw.ellipse((x, y, x + width, y + height), fill=(shade // 6, shade // 4, shade))
    path = Path("paradisi05_laminopathic_nuclei.jpg")
    image.save(path, quality=90)
    return path


def _iris() -> "pd.DataFrame":
    import pandas as pd

    lines = _IRIS.split()
    columns: dict[str, list[float]] = {name: [] for name in _IRIS_COLUMNS}
    for number, line in enumerate(lines):
        values = [int(line[at : at + 2]) / 1000 for at in range(0, len(line), 2)]
        columns[_IRIS_COLUMNS[number % 4]] += values
    return pd.DataFrame(columns | {"iris_organism_code": [code for code in range(3) for _ in range(50)]})


def _counts(cells: int, genes: int, seed: int) -> "csr_matrix":
    """Returns counts of molecules, a fifth of them above zero. `RandomState` draws the same numbers in all releases."""
    import numpy as np
    from scipy.sparse import csr_matrix

    random = np.random.RandomState(seed)
    counts = random.poisson(4, (cells, genes)) * (random.rand(cells, genes) < 0.2)
    return csr_matrix(counts.astype(np.float32))


def _genes(count: int) -> list[str]:
    return [f"ENSG{number * 37 % 100_000:011d}" for number in range(1, count + 1)]


def _barcodes(count: int) -> list[str]:
    """Returns cell barcodes of 16 bases."""
    return ["".join("ACGT"[number * 7919 >> 2 * base & 3] for base in range(16)) + "-1" for number in range(count)]


def _ten_x_matrix(folder: Path, counts: "csr_matrix", genes: list[str], barcodes: list[str]) -> None:
    """Writes a matrix as Matrix Market, genes x cells."""
    from scipy.io import mmwrite

    folder.mkdir()
    matrix = BytesIO()
    mmwrite(matrix, counts.T.astype("int32"))
    _gzip(folder / "matrix.mtx.gz", matrix.getvalue())
    _gzip(folder / "barcodes.tsv.gz", _lines(barcodes))
    _gzip(folder / "features.tsv.gz", _lines(f"{gene}\tGene {gene[-4:]}\tGene Expression" for gene in genes))


def _ten_x_h5(path: Path, counts: "csr_matrix", genes: list[str], barcodes: list[str]) -> None:
    """Writes a matrix as HDF5, cell by cell."""
    import h5py

    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for name, values in {
            "data": counts.data.astype("int32"),
            "indices": counts.indices,
            "indptr": counts.indptr,
            "shape": list(counts.shape[::-1]),
            "barcodes": barcodes,
            "features/id": genes,
            "features/name": [f"Gene {gene[-4:]}" for gene in genes],
            "features/feature_type": ["Gene Expression"] * len(genes),
            "features/genome": ["GRCh38"] * len(genes),
        }.items():
            matrix[name] = values


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, mtime=0))
