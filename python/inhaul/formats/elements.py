"""Elements of an AnnData in HDF5 or zarr: whole, or selected rows and columns.

anndata reads them. If an encoding stores row by row, only the selection is fetched. Any other element, for example in
an old encoding, is read as a whole first.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Positions = np.ndarray[Any, np.dtype[np.intp]] | None  # None means all


def read(node: Any, rows: "Positions" = None, columns: "Positions" = None) -> Any:
    """Reads an element.

    Args:
        node: A group or array.
        rows: Positions of the rows; None for all.
        columns: Positions of the columns; None for all.

    Returns:
        A DataFrame, an array, or a sparse matrix.
    """
    import anndata
    import numpy as np
    import pandas as pd

    if rows is None and columns is None:
        return anndata.io.read_elem(node)
    match _encoding(node):
        case ("dataframe", "0.2.0") if rows is not None and not len(rows) and length_of(node):
            # pandas distinguishes texts from other objects by their values, so at least one row must be read.
            return _chosen(read(node, np.zeros(1, np.intp)), rows, None)
        case ("dataframe", "0.2.0"):
            data = {name: read(node[name], rows) for name in columns_of(node)}
            return pd.DataFrame(data, index=_read_index(node, rows))
        case ("categorical", "0.2.0"):
            values = pd.Categorical.from_codes(
                read(node["codes"], rows),
                categories=anndata.io.read_elem(node["categories"]),
                ordered=bool(node.attrs["ordered"]),
            )
            return values.remove_unused_categories()  # as AnnData does for selected rows
        case ("csr_matrix" | "csc_matrix" as kind, "0.1.0"):
            return _read_sparse(node, kind, rows, columns)
        case ("array" | "string-array", "0.2.0"):
            return _read_array(node, rows, columns)
        case ("", "") if hasattr(node, "dtype") and node.dtype.kind in "biuf":
            return _read_array(node, rows, columns)
        case _:
            return _chosen(anndata.io.read_elem(node), rows, columns)


def read_column(table: Any, name: str, rows: "Positions" = None) -> Any:
    """Reads a column of a DataFrame, or an item of a dict."""
    if _encoding(table) == ("dataframe", "0.2.0") or not _is_table(table):
        return read(table[name], rows)
    column = read(table, rows)[name]
    return column.to_numpy() if column.dtype.kind in "biufOM" else column.array


def shape_of(node: Any) -> tuple[int, ...]:
    """Returns the shape of an element without reading it: for a DataFrame, rows and columns; () if it has none."""
    if _is_table(node):
        return length_of(_index_of(node)), len(columns_of(node))
    for name in ("shape", "h5sparse_shape"):
        if name in node.attrs:
            return tuple(int(size) for size in node.attrs[name])
    if hasattr(node, "shape"):
        return tuple(node.shape or ())
    return () if _encoding(node)[0] in ("dict", "") else (length_of(node),)


def length_of(node: Any) -> int:
    """Returns the number of items along the first axis, in any encoding; mainly for an index."""
    if hasattr(node, "shape"):
        return int(node.shape[0])
    if _is_table(node):
        return length_of(_index_of(node))
    if "length" in node.attrs:  # of awkward arrays
        return int(node.attrs["length"])
    return length_of(node["codes" if "codes" in node else "values"])


def columns_of(node: Any) -> tuple[str, ...]:
    """Returns the names of the columns of a DataFrame or of the items of a dict; others have none."""
    if _is_table(node):
        return tuple(map(_text, node.attrs["column-order"]))
    return tuple(node) if not hasattr(node, "shape") and _encoding(node)[0] in ("dict", "") else ()


def names_of(table: Any) -> "pd.Index[str]":
    """Returns the index of a DataFrame that annotates an axis."""
    import anndata
    import pandas as pd

    if _encoding(table) == ("dataframe", "0.2.0"):
        return as_names(pd.Index(anndata.io.read_elem(_index_of(table))))
    return as_names(anndata.io.read_elem(table).index)


def as_names(index: "pd.Index[Any]") -> "pd.Index[str]":
    """Returns an index as in an AnnData, with texts."""
    import anndata
    import pandas as pd
    from pandas.api.types import is_string_dtype

    if is_string_dtype(index[index.notna()]):
        return index
    names: pd.Index[str] = anndata.AnnData(
        obs=pd.DataFrame(index=index)
    ).obs_names  # the installed release decides the type of texts
    return names


def is_null(node: Any) -> bool:
    """Returns True if a node stands for None."""
    return _encoding(node)[0] == "null" or (hasattr(node, "shape") and node.shape is None)


def _is_table(node: Any) -> bool:
    return "_index" in node.attrs and "column-order" in node.attrs


def _encoding(node: Any) -> tuple[str, str]:
    """Returns the type and version of the encoding of an element; empty texts for the oldest."""
    return _text(node.attrs.get("encoding-type", "")), _text(node.attrs.get("encoding-version", ""))


def _text(value: str | bytes) -> str:
    """Returns a text that may have been written by another language than Python."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _index_of(table: Any) -> Any:
    return table[_text(table.attrs["_index"])]


def _index_name(table: Any) -> str | None:
    name = _text(table.attrs["_index"])
    return None if name == "_index" else name


def _read_index(table: Any, rows: "Positions") -> "pd.Index[Any]":
    import anndata
    import pandas as pd

    node, name = _index_of(table), _index_name(table)
    is_plain = hasattr(node, "shape")
    index: pd.Index[Any] = pd.Index(read(node, rows) if is_plain else anndata.io.read_elem(node), name=name)
    return index if is_plain or rows is None else index.take(rows)


def _chosen(whole: Any, rows: "Positions", columns: "Positions") -> Any:
    """Returns rows and columns of an element in memory."""
    import pandas as pd

    if isinstance(whole, pd.DataFrame):
        table = whole if rows is None else whole.iloc[rows]
        data = {
            name: column.cat.remove_unused_categories() if column.dtype == "category" else column
            for name, column in table.items()
        }
        return pd.DataFrame(data, index=table.index, columns=table.columns)
    whole = whole if rows is None else whole[rows]
    return whole if columns is None else whole[:, columns]


def _read_sparse(node: Any, kind: str, rows: "Positions", columns: "Positions") -> Any:
    """Reads only the selected rows of a CSR matrix, or columns of a CSC matrix; selects the other axis in memory."""
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
    # HDF5 needs sorted rows, and a contiguous range of columns.
    span = slice(None) if columns is None or not len(columns) else slice(int(columns.min()), int(columns.max()) + 1)
    ordered, back = np.unique(np.arange(array.shape[0]) if rows is None else rows, return_inverse=True)
    found = _read_ranges(array, ordered, ordered + 1, span)[back]
    return found if columns is None else found[:, columns - (span.start or 0)]


def _read_ranges(array: Any, starts: Any, stops: Any, span: slice | None = None) -> Any:
    """Reads ranges of rows and joins them; adjacent ranges are read as one."""
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
