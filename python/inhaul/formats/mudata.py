"""Multimodal data: MuData in HDF5 (.h5mu)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.formats.arrays import open_h5
from inhaul.formats.h5_sizes import check_h5
from inhaul.formats.libraries import library
from inhaul.formats.storable import check_anndata, check_keys, is_unknown_view, with_categories

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


def read_h5mu(path: Path, **options: Any) -> "MuData":
    """Reads an .h5mu file.

    Raises:
        ValueError: It has data in other files, or declares more data than it stores.
    """
    reader = library("mudata", "mudata")
    with open_h5(path) as file:
        check_h5(file, path)
    mdata: MuData = reader.read_h5mu(path, **options)
    return mdata


def write_h5mu(mdata: "MuData", path: Path) -> None:
    """Writes an .h5mu file. The object does not change.

    Raises:
        ValueError: It holds values that could not be read again.
    """
    import anndata
    import h5py

    check_keys("mod", mdata.mod)
    for name, part in mdata.mod.items():
        check_anndata(part, f"mod[{name!r}].")
    shown = _Shown(
        mdata,
        mod={name: _shown(part) for name, part in mdata.mod.items()},
        strings_to_categoricals=lambda frame: with_categories(mdata, frame),
        update=_nothing,
        **_aligned(mdata),
    )
    library("mudata", "mudata").write_h5mu(
        path, shown
    )  # the method of the object would make a backed object refer to the new file
    for name, part in mdata.mod.items():
        if part.isbacked and part.raw is not None:  # mudata would leave out the matrix
            with h5py.File(path, "r+") as file:
                anndata.io.write_elem(file[f"mod/{name}/raw"], "X", part.raw.X)


class _Shown:
    """A wrapper that replaces some attributes of an object while it is written."""

    def __init__(self, original: Any, **others: Any) -> None:
        self._original = original
        vars(self).update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _shown(adata: "AnnData") -> _Shown:
    """Returns a wrapped AnnData with texts as anndata stores them. mudata would change those of the object itself."""
    import anndata

    raw = adata.raw
    if raw is not None:
        raw = anndata.Raw(
            adata, X=None if adata.isbacked else raw.X, var=with_categories(adata, raw.var), varm=raw.varm
        )
    return _Shown(
        adata,
        obs=with_categories(adata, adata.obs),
        var=with_categories(adata, adata.var),
        raw=raw,
        strings_to_categoricals=_nothing,
        **_aligned(adata),
        layers=_as_arrays(adata.layers),
    )


def _aligned(data: Any) -> dict[str, dict[str, Any]]:
    return {name: _as_arrays(getattr(data, name)) for name in ("obsm", "varm", "obsp", "varp")}


def _as_arrays(parts: Mapping[Any, Any]) -> dict[Any, Any]:
    import numpy as np

    return {name: np.asarray(part) if is_unknown_view(part) else part for name, part in parts.items()}


def _nothing(_frame: object = None) -> None:
    """Does nothing."""
