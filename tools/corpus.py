"""Writes `tests/corpus`, small files as older releases of libraries wrote them, each in an environment of its own."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "tests" / "corpus"

# What is installed for each line, and the program that writes its files into the current folder.
LINES = {
    "anndata-0.7": (
        [
            "anndata==0.7.8",
            "h5py<3.9",
            "numcodecs<0.12",
            "numpy<1.24",
            "pandas<2",
            "scipy<1.11",
            "setuptools",
            "zarr<2.14",
        ],
        """
import anndata, numpy as np, pandas as pd
from scipy import sparse
obs = pd.DataFrame(
    {"kind": pd.Categorical(["b", "a", "b"]), "text": ["u", "v", "w"], "n": [1, 2, 3]}, index=["c1", "c2", "c3"]
)
var = pd.DataFrame({"gene": ["g", "h"]}, index=["v1", "v2"])
adata = anndata.AnnData(sparse.csr_matrix(np.arange(6, dtype="f4").reshape(3, 2)), obs=obs, var=var)
adata.obsm["pca"] = adata.layers["dense"] = np.arange(6.0).reshape(3, 2)
adata.uns["palette"] = {"a": "red"}
adata.varm["load"] = np.arange(2.0)[:, None]
adata.raw = adata
adata.write_h5ad("anndata-0.7.h5ad")
adata.write_zarr("anndata-0.7.zarr")
""",
    ),
}


def main() -> None:
    """Writes the files of every line."""
    CORPUS.mkdir(exist_ok=True)
    for packages, program in LINES.values():
        with tempfile.TemporaryDirectory() as folder:
            python = Path(folder, "venv", "bin", "python")
            subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages.split()], check=True)
            written = Path(folder, "files")
            written.mkdir()
            subprocess.run([python, "-W", "ignore", "-c", program], check=True, cwd=written)
            for path in written.iterdir():
                if path.is_dir():
                    shutil.make_archive(str(CORPUS / path.name), "zip", path)
                else:
                    shutil.copy(path, CORPUS)


if __name__ == "__main__":
    main()
