"""The sources of artifacts, paths and objects in memory, which are checked at the call."""

from typing import TYPE_CHECKING, Any, Literal, Self

from inhaul.arguments import check_path
from inhaul.formats import memory
from inhaul.registry.model.world import check_record
from inhaul.registry.records.storage import Storage
from inhaul.stores.locations import is_pathish
from inhaul.stores.schemes import as_text, checked_root

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from inhaul.content.given import Data
    from inhaul.registry.artifact import Artifact
    from inhaul.registry.records.run import Run
    from inhaul.stores.locations import Pathish


def checked_storage(artifact: "Artifact", storage: "Storage | Pathish | None") -> Storage | str | None:
    """Returns the storage that a user passed, as a record or a root.

    Raises:
        TypeError: It is neither a storage nor a path.
        WrongWorld: It belongs to the other API.
        ValueError: It belongs to another registry, or the path is empty.
        UnsupportedStorage: The root is neither a folder nor the address of a bucket.
        InvalidKey: The root is not UTF-8.
    """
    if is_pathish(storage):
        check_path(storage)
        return checked_root(as_text(storage))
    if storage is not None and not hasattr(storage, "_world"):
        raise TypeError(f"storage={storage!r}: pass a Storage, or its root")
    check_record(artifact._world, "storage", storage, "Storage", optional=True)
    if storage is not None and storage._id is not None:
        storage._check_home(artifact._home)
    return storage


def check_data(data: object, format: str | None) -> None:
    """Checks that an artifact can be created from the data and stored in the format.

    Raises:
        TypeError: The data is neither a path nor an object that has a format.
        ValueError: The path is empty, or the data cannot be stored in this format.
    """
    if is_pathish(data):
        check_path(data)
    elif memory.accessor_of(data) is None:
        raise TypeError(
            f"An artifact is created from a path, a DataFrame, an AnnData or a MuData, not from {type(data).__name__}"
        )
    if format is not None:
        memory.check_format(data, format)


class FromMemory:
    """Creates artifacts whose columns are checked against the registered features, which are linked on save."""

    _validates: bool = False

    @classmethod
    def from_df(
        cls,
        df: "pd.DataFrame",
        key: str | None = None,
        description: str | None = None,
        run: "Run | Literal[False] | None" = None,
        version: str | None = None,
        is_new_version_of: "Artifact | None" = None,
        **options: Any,
    ) -> Self:
        """Returns an artifact of a DataFrame, stored as .parquet.

        Columns that are registered features are checked on staging, and linked when the artifact is saved. A warning
        lists the other columns.

        Args:
            df: The table.
            key: See `Artifact`, also for the other arguments and errors.
            description: A description of the artifact.
            run: The run that creates the artifact.
            version: The name of this version.
            is_new_version_of: Any version of the same artifact.
            **options: Other arguments of `Artifact`.

        Raises:
            TypeError: The data is not a DataFrame.
            ValidationError: On staging: a column does not have the dtype of its feature.
        """
        _expect(df, "DataFrame")
        given = {"key": key, "description": description, "run": run, "version": version}
        return cls._validated(df, is_new_version_of=is_new_version_of, **given, **options)

    @classmethod
    def from_anndata(
        cls,
        adata: "AnnData | Pathish",
        key: str | None = None,
        description: str | None = None,
        run: "Run | Literal[False] | None" = None,
        version: str | None = None,
        is_new_version_of: "Artifact | None" = None,
        **options: Any,
    ) -> Self:
        """Returns an artifact of an AnnData. An object is stored as .h5ad unless `format` or the key says otherwise.

        Columns and variables that are registered features are checked on staging, and linked when the artifact is
        saved; not for a path in a bucket. A warning lists the other names.

        Args:
            adata: The object, or the path of an .h5ad file or an AnnData zarr store.
            key: See `Artifact`, also for the other arguments and errors.
            description: A description of the artifact.
            run: The run that creates the artifact.
            version: The name of this version.
            is_new_version_of: Any version of the same artifact.
            **options: Other arguments of `Artifact`.

        Raises:
            TypeError: The data is neither an AnnData nor a path.
            ValueError: On staging: the path has another suffix than an AnnData, or its content is damaged.
            ValidationError: On staging: a column or variable does not have the dtype of its feature.
        """
        _expect(adata, "AnnData", or_path=True)
        given = {"key": key, "description": description, "run": run, "version": version, "accessor": "AnnData"}
        return cls._validated(adata, is_new_version_of=is_new_version_of, **(given | options))

    @classmethod
    def from_mudata(
        cls,
        mdata: "MuData | Pathish",
        key: str | None = None,
        description: str | None = None,
        run: "Run | Literal[False] | None" = None,
        version: str | None = None,
        is_new_version_of: "Artifact | None" = None,
        **options: Any,
    ) -> Self:
        """Returns an artifact of a MuData. An object is stored as .h5mu.

        Columns and variables that are registered features are checked on staging, and linked when the artifact is
        saved; not for a path in a bucket. A warning lists the other names.

        Args:
            mdata: The object, or the path of an .h5mu file.
            key: See `Artifact`, also for the other arguments and errors.
            description: A description of the artifact.
            run: The run that creates the artifact.
            version: The name of this version.
            is_new_version_of: Any version of the same artifact.
            **options: Other arguments of `Artifact`.

        Raises:
            TypeError: The data is neither a MuData nor a path.
            ValueError: On staging: the path has another suffix than a MuData, or its content is damaged.
            ValidationError: On staging: a column or variable does not have the dtype of its feature.
        """
        _expect(mdata, "MuData", or_path=True)
        given = {"key": key, "description": description, "run": run, "version": version, "accessor": "MuData"}
        return cls._validated(mdata, is_new_version_of=is_new_version_of, **(given | options))

    @classmethod
    def _validated(cls, data: "Data", **options: Any) -> Self:
        """Returns an artifact whose features are checked when it is staged."""
        made = cls.__new__(cls)
        made._validates = True
        made.__init__(data, **options)  # type: ignore[misc]
        return made


def _expect(data: object, accessor: str, *, or_path: bool = False) -> None:
    """Checks that data has this accessor, or is a path where that is allowed.

    Raises:
        TypeError: It is neither.
    """
    if not (or_path and is_pathish(data)) and memory.accessor_of(data) != accessor:
        raise TypeError(f"Pass {accessor}{' or a path' if or_path else ''}, not {type(data).__name__}")
