"""Checks that the file of an annotated matrix will load as the same object. Other content is refused by name."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_MAPPINGS = ("layers", "obsm", "varm", "obsp", "varp", "uns")
_OWN_FILES = frozenset({".zgroup", ".zarray", ".zattrs", ".zmetadata", "zarr.json"})  # of a zarr store


def check_anndata(adata: "AnnData", where: str = "") -> None:
    """Refuses an AnnData with values that would be read as other values, or not at all.

    Args:
        adata: The object.
        where: The text before the names of its parts in messages, such as `mod['rna'].`.

    Raises:
        ValueError: Objects that are not texts would become texts, or the file cannot have a name.
    """
    for name in ("obs", "var"):
        _check_frame(f"{where}{name}", getattr(adata, name), gets_categories=True)
    if adata.raw is not None:
        _check_frame(f"{where}raw.var", adata.raw.var, gets_categories=True)
        _check_mapping(f"{where}raw.varm", adata.raw.varm)
    _check_value(f"{where}X", adata.X)
    for name in _MAPPINGS:
        _check_mapping(f"{where}{name}", getattr(adata, name))


def check_keys(where: str, keys: Iterable[Any], *, nested: bool = False) -> None:
    """Refuses names that a file cannot distinguish from others.

    Args:
        where: The part with these names.
        keys: The names.
        nested: Whether names with slashes can be read again, as those of columns can.

    Raises:
        ValueError: A name is empty, is not a text, has a slash, or is a name that zarr uses.
    """
    known = set(keys)
    for key in known:
        if not isinstance(key, str):
            raise ValueError(f"{where} has the name {key!r}, a {type(key).__name__}: use a text")
        first, *more = key.split("/")
        reason = None
        if more and not nested:
            reason = "a slash would make groups of it"
        elif any(part in ("", ".", "..") for part in (first, *more)):
            reason = "no part of a file can have this name"
        elif first in _OWN_FILES:
            reason = "zarr has a file of this name"
        elif taken := [other for other in _parents(key) if other in known]:
            reason = f"it would lie in {taken[0]!r}"
        if reason is not None:
            raise ValueError(f"{where} has the name {key!r}, but {reason}: rename it")


def with_categories(adata: "AnnData", frame: "pd.DataFrame") -> "pd.DataFrame":
    """Returns a shallow copy of annotations in which repeated texts are categories, as anndata writes them.

    Texts that are all different stay texts. They become objects if anndata does not write the texts of pandas.
    """
    import pandas as pd

    made = pd.DataFrame(frame)  # removes the link from the annotations of a view to their parent
    adata.strings_to_categoricals(made)
    if _writes_texts_of_pandas():
        return made
    for name, dtype in made.dtypes.items():
        if isinstance(dtype, pd.StringDtype):
            made[name] = made[name].astype(object)
    if isinstance(made.index.dtype, pd.StringDtype):
        made.index = made.index.astype(object)
    return made


def is_unknown_view(element: Any) -> bool:
    """Returns True for an array in a view that anndata would write like an array of numbers.

    anndata chooses a writer by class and kind. For structured arrays (V) and NumPy's own texts (T), it has only writers
    of plain arrays.
    """
    import numpy as np

    return isinstance(element, np.ndarray) and type(element) is not np.ndarray and element.dtype.kind in "VT"


def _writes_texts_of_pandas() -> bool:
    """Returns True if anndata writes columns of `StringDtype`: if it is set so, and since 0.13 with pandas 3."""
    import anndata
    import pandas as pd

    allowed = anndata.settings.allow_write_nullable_strings
    return isinstance(pd.Series(["a"]).dtype, pd.StringDtype) if allowed is None else bool(allowed)


def check_dtypes(where: str, frame: "pd.DataFrame") -> None:
    """Refuses dtypes for which pandas has no class, such as Arrow's `string_view`: no function of pandas works.

    Args:
        where: The name of the table, for messages.
        frame: The table.

    Raises:
        ValueError: A column, the index or the names of columns have such a dtype.
    """
    import pandas as pd

    known = {dtype: f"{where}[{name!r}]" for name, dtype in frame.dtypes.items()}
    known |= {frame.index.dtype: f"the index of {where}", frame.columns.dtype: f"the names of columns of {where}"}
    for dtype, part in known.items():
        try:
            pd.api.types.is_object_dtype(dtype)
        except NotImplementedError as error:
            raise ValueError(f"{part} is of dtype {dtype}, which pandas cannot work with: convert it") from error


def names_of(parts: Mapping[Any, Any]) -> list[Any]:
    """Returns the names of parts of an AnnData. Leaves out None, under which layers have X since anndata 0.13."""
    return [key for key in parts if key is not None]


def _parents(key: str) -> list[str]:
    parts = key.split("/")
    return ["/".join(parts[:size]) for size in range(1, len(parts))]


def _check_mapping(where: str, values: Mapping[Any, Any]) -> None:
    keys = names_of(values)
    check_keys(where, keys)
    for key in keys:
        _check_value(f"{where}[{key!r}]", values[key])


def _check_value(where: str, value: Any) -> None:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    if isinstance(value, AnnData):
        check_anndata(value, f"{where}.")
    elif isinstance(value, pd.DataFrame):
        _check_frame(where, value)
    elif isinstance(value, Mapping):
        _check_mapping(where, value)
    elif isinstance(value, list):
        if any(isinstance(item, str) for item in value) and not all(isinstance(item, str) for item in value):
            raise ValueError(_refusal(where, "mixed", "texts or numbers only"))
    elif isinstance(value, np.ndarray):
        for name in value.dtype.names or ():
            _check_value(f"{where}[{name!r}]", value[name])
        if value.dtype.kind in "OT":  # objects, or texts, some of which may be missing
            _check_texts(where, value.ravel().astype(object), "texts or numbers only")


def _check_frame(where: str, frame: "pd.DataFrame", *, gets_categories: bool = False) -> None:
    """Checks a table.

    Args:
        where: The name of the table.
        frame: The table.
        gets_categories: Whether texts with missing values are stored as categories.
    """
    import pandas as pd

    names = [*frame.columns, *([] if frame.index.name is None else [frame.index.name])]
    check_keys(where, names, nested=True)
    check_dtypes(where, frame)
    _check_texts(f"the index of {where}", frame.index, "texts only")
    for place, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        if isinstance(dtype, pd.CategoricalDtype):
            _check_texts(f"{where}[{name!r}]", dtype.categories, "categories that are texts")
        elif pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.StringDtype):
            column = frame.iloc[:, place]
            _check_texts(f"{where}[{name!r}]", column, "astype('category') if they are texts", gets_categories)


def _check_texts(where: str, values: Any, use: str, skipna: bool = False) -> None:
    """Refuses objects that are not texts, but that a file would store as texts such as "None" or "nan"."""
    import pandas as pd

    becomes_text = isinstance(values.dtype, pd.StringDtype | pd.IntervalDtype) or pd.api.types.is_object_dtype(values)
    if not len(values) or not becomes_text:
        return
    kind = pd.api.types.infer_dtype(values, skipna=skipna)
    if kind == "mixed" and not skipna and pd.api.types.infer_dtype(values, skipna=True) == "string":
        kind = "partly missing"
    if kind != "string":
        raise ValueError(_refusal(where, "only missing" if kind == "empty" else kind, use))


def _refusal(where: str, kind: str, use: str) -> str:
    return f"{where} holds {kind} values, which would come back as texts: use {use}"
