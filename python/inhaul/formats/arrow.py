"""Tables as pyarrow datasets, which read rows and columns on demand."""

import gzip
from io import BytesIO
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from inhaul.formats.known import BACKED
from inhaul.formats.ranged import RangedFile, Remote, RemoteFiles, Source, sizes_below
from inhaul.formats.separated import open_as_loaded
from inhaul.formats.sizes import check_unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow.dataset import Dataset

FORMS = ("parquet", "arrow", "csv", "tsv")
"""The forms that datasets have."""


def open_dataset(source: Source, suffix: str, **options: Any) -> "Dataset":
    """Opens a table, a file or a folder of files.

    Args:
        source: The content.
        suffix: Its canonical suffix.
        **options: Options of pyarrow's format, such as `parse_options` of `CsvFileFormat`.

    Raises:
        TypeError: The format has no such option.
    """
    from pyarrow import dataset, feather, fs

    form = BACKED[suffix]
    if form in ("csv", "tsv"):
        return _open_csv(source, suffix, **options)
    made = dataset.ParquetFileFormat(**options) if form == "parquet" else dataset.IpcFileFormat(**options)
    if form == "arrow" and (first := _feather_1(source)) is not None:
        return dataset.dataset(feather.read_table(first))
    # Columns in the names of folders have the same types as in `load()`.
    folders = dataset.HivePartitioning.discover(infer_dictionary=True) if _is_folder(source) else None
    if isinstance(source, Path):
        return dataset.dataset(source, format=made, partitioning=folders)
    files = fs.PyFileSystem(fs.FSSpecHandler(RemoteFiles(source)))
    return dataset.dataset(source.key, filesystem=files, format=made, partitioning=folders)


def _is_folder(source: Source) -> bool:
    return source.is_dir() if isinstance(source, Path) else source.is_folder


def _feather_1(source: Source) -> Any:
    """Returns the table of a feather version 1 file, which pyarrow cannot open as a dataset; None for other files."""
    if _is_folder(source):
        return None
    file = source.open("rb") if isinstance(source, Path) else RangedFile(source)
    with file:
        start = file.read(4)
        return BytesIO(start + file.read()) if start == b"FEA1" else None


def _open_csv(
    source: Source, suffix: str, *, parse_options: Any = None, read_options: Any = None, convert_options: Any = None
) -> "Dataset":
    """Opens a CSV table. Without options, it has the columns, types and rows of `load()`.

    For that, the table is read twice: only the last row may show the type of a column, and any row may lack fields.
    """
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import dataset

    parse = parse_options or arrow_csv.ParseOptions(
        delimiter="\t" if BACKED[suffix] == "tsv" else ",", newlines_in_values=True
    )
    # Any use of a CSV object in a bucket reads all of it, so it is fetched once.
    files: Sequence[Path | bytes] = files_of(source) if isinstance(source, Path) else _contents(source)

    def opened(read: Any, convert: Any) -> "Dataset":
        if isinstance(source, Remote):
            parts = [arrow_csv.read_csv(pyarrow.BufferReader(content), read, parse, convert) for content in files]
            return dataset.dataset(pyarrow.concat_tables(parts, promote_options="default"))
        form = dataset.CsvFileFormat(parse_options=parse, read_options=read, convert_options=convert)
        return dataset.dataset(source, format=form)

    if read_options is not None or convert_options is not None:
        return opened(read_options, convert_options)
    return open_as_loaded(files, parse, opened)


def files_of(path: Path) -> list[Path]:
    """Returns the file itself, or the files of a folder with parts of a table, in order, as pyarrow selects them."""
    if not path.is_dir():
        return [path]
    found = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
    return [path / file for file in sorted(found) if _is_part(file)]


def _contents(source: Remote) -> list[bytes]:
    """Returns the contents of the files that `files_of` would return, fetched and decompressed."""
    keys = [source.key]
    if source.is_folder:
        keys = [key for key in sizes_below(source) if _is_part(PurePosixPath(key).relative_to(source.key))]
    return [_content(Remote(source.objects, key)) for key in keys]


def _content(file: Remote) -> bytes:
    content = RangedFile(file).read()
    if not file.key.lower().endswith(".gz"):
        return content
    check_unpacked(content)
    return gzip.decompress(content)


def _is_part(file: PurePath) -> bool:
    """Returns True if a file in a folder holds a part of a table."""
    return not any(part.startswith((".", "_")) for part in file.parts)
