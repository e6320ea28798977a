"""Elements of an AnnData in HDF5 or zarr: all of one, or the rows and columns asked for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Positions = np.ndarray[Any, np.dtype[np.intp]] | None  # None: all


def read(node: Any, rows: "Positions" = None, columns: "Positions" = None) -> Any:
    """Reads an element.

    Args:
        node: A group or array.
        rows: Positions of the rows; None: all.
        columns: Positions of the columns; None: all.

    Returns:
        A DataFrame, an array, or a sparse matrix.
    """
    import anndata
    import pandas as pd

    if rows is None and columns is None:
        return anndata.io.read_elem(node)
    match node.attrs.get("encoding-type"):
        case "dataframe":
            data = {name: read(node[name], rows) for name in node.attrs["column-order"]}
            return pd.DataFrame(data, index=pd.Index(read(index_of(node), rows), name=_index_name(node)))
        case "categorical":
            values = pd.Categorical.from_codes(
                read(node["codes"], rows),
                categories=anndata.io.read_elem(node["categories"]),
                ordered=bool(node.attrs["ordered"]),
            )
            return values.remove_unused_categories()  # as AnnData does with a choice of rows
        case "csr_matrix" | "csc_matrix" as kind:
            return _read_sparse(node, kind, rows, columns)
        case _ if hasattr(node, "shape"):
            return _read_array(node, rows, columns)
        case _:
            whole = anndata.io.read_elem(node)
            whole = whole if rows is None else whole[rows]
            return whole if columns is None else whole[:, columns]


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape of an element, known without reading it."""
    if hasattr(node, "shape"):
        return tuple(node.shape)
    if "shape" in node.attrs:
        return tuple(int(size) for size in node.attrs["shape"])
    if "_index" in node.attrs:
        return index_of(node).shape[0], len(node.attrs["column-order"])
    return shape_of(node["codes" if "codes" in node else "values"])


def index_of(table: Any) -> Any:
    """The array that holds the index of a DataFrame."""
    return table[table.attrs["_index"]]


def names_of(table: Any) -> "pd.Index[str]":
    """The index of a DataFrame."""
    import anndata
    import pandas as pd

    names: pd.Index[str] = pd.Index(anndata.io.read_elem(index_of(table)))
    return names


def _index_name(table: Any) -> str | None:
    name: str = table.attrs["_index"]
    return None if name == "_index" else name


def _read_sparse(node: Any, kind: str, rows: "Positions", columns: "Positions") -> Any:
    """Only what is in the chosen rows of a CSR matrix, or columns of a CSC matrix; the rest is chosen in memory."""
    import numpy as np
    from scipy import sparse

    csr = kind == "csr_matrix"
    major, minor = (rows, columns) if csr else (columns, rows)
    shape = shape_of(node)
    indptr = node["indptr"][:]
    major = np.arange(len(indptr) - 1) if major is None else major
    starts, stops = indptr[major], indptr[major + 1]
    parts = (_read_ranges(node["data"], starts, stops), _read_ranges(node["indices"], starts, stops))
    made = (*parts, np.concatenate(([0], np.cumsum(stops - starts))))
    if csr:
        matrix = sparse.csr_matrix(made, shape=(len(major), shape[1]))
        return matrix if minor is None else matrix[:, minor]
    matrix = sparse.csc_matrix(made, shape=(shape[0], len(major)))
    return matrix if minor is None else matrix[minor]


def _read_array(array: Any, rows: "Positions", columns: "Positions") -> Any:
    import numpy as np

    if not _is_hdf5(array):
        everything = slice(None)
        chosen = (everything if rows is None else rows, *(() if columns is None else (columns,)))
        return array.oindex[chosen]
    # HDF5 wants rows in order, and columns in one piece.
    span = slice(None) if columns is None or not len(columns) else slice(int(columns.min()), int(columns.max()) + 1)
    ordered, back = np.unique(np.arange(array.shape[0]) if rows is None else rows, return_inverse=True)
    found = _read_ranges(array, ordered, ordered + 1, span)[back]
    return found if columns is None else found[:, columns - (span.start or 0)]


def _read_ranges(array: Any, starts: Any, stops: Any, span: slice | None = None) -> Any:
    """Ranges of rows, one after the other; neighbours are read as one."""
    import h5py
    import numpy as np

    apart = starts[1:] != stops[:-1]
    starts = starts[np.concatenate(([True], apart))[: len(starts)]]
    stops = stops[np.concatenate((apart, [True]))[: len(stops)]]
    ranges = [slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
    if not ranges:
        ranges = [slice(0)]
    if not _is_hdf5(array):
        places = [np.arange(part.start or 0, part.stop) for part in ranges]
        return array.oindex[ranges[0] if len(ranges) == 1 else np.concatenate(places)]
    source = array.asstr() if h5py.check_string_dtype(array.dtype) is not None else array
    columns = () if span is None or array.ndim == 1 else (span,)
    return np.concatenate([source[(part, *columns)] for part in ranges])


def _is_hdf5(array: Any) -> bool:
    return hasattr(array, "asstr")
