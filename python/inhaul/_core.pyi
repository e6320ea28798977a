"""The Rust core: disk and CPU work, and the rules for hashes, keys and uids.

Batches of columns cross this seam, never an object per file. Every call that blocks releases the GIL.
Paths may be bytes, so that any file name passes.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Literal, TypeAlias, final

from _typeshed import StrOrBytesPath
from typing_extensions import Buffer

__all__ = [
    "Batch",
    "Contents",
    "GivenFiles",
    "Inotify",
    "Listing",
    "Memo",
    "PartReader",
    "PathList",
    "Recalled",
    "Root",
    "Scanner",
    "Stop",
    "accessor",
    "check_patterns",
    "copy_file",
    "crc32c",
    "crc32c_combine",
    "file_state",
    "filesystem_magic",
    "has_writers",
    "hash_bytes",
    "hash_dir",
    "hash_files",
    "key_problem",
    "new_uid",
    "next_uid",
    "object_key",
    "suffix",
    "write_file",
]

_State: TypeAlias = tuple[int, int, int]
"""The size of a file in bytes, and the times of its last modification and change in nanoseconds."""

_Entry: TypeAlias = tuple[bytes, str | None, str | None, _State | None]

_Known: TypeAlias = tuple[int, str, str, int, str, str, int, str]
"""What the registry knows of one file: its ordinal in the listing (or batch), uid of the latest row of its
key, highest uid of that row's family, size, hash, hash type, visibility, and the row as JSON text."""

_Upload: TypeAlias = tuple[int, str, bytes, str] | tuple[int, str, PartReader, None]
"""ticket, object key, and content with its MD5 in hex, or a reader that hashes it while it is sent."""

_Row: TypeAlias = tuple[str, str, str, str, str, str, str | None, int, str, str, str | None, str]
"""path, key, status, uid, object key, suffix, accessor, size, hash, hash type, record, verified by."""

@final
class Stop:
    """Ends calls that run in other threads."""

    def __new__(cls) -> Stop: ...
    def set(self) -> None:
        """End the calls that were given this, also those that have not begun."""

@final
class Root:
    """A folder that is held open, and what lies below it, which is reached from its descriptor.

    Paths are relative to it. A link that leads out of it is never followed.
    """

    def __new__(cls, path: StrOrBytesPath) -> Root:
        """Open a folder; its own path may have links.

        Raises:
            OSError: It is no folder, or the system refuses.
        """

    @property
    def path(self) -> str:
        """The path that it was opened by."""

    def is_there(self) -> bool:
        """Whether its path still leads to it."""

    def open(self, path: StrOrBytesPath, flags: int, *, follow: bool) -> int:
        """Open what is below it, and give a descriptor to close.

        Args:
            path: What.
            flags: As in `os.open`; nothing is created.
            follow: Follow links that stay below it, on the way and at its end.

        Raises:
            LinkRefused: A link is on the way that is not followed.
            OSError: The system refuses.
        """

    def create_folder(self, path: StrOrBytesPath) -> int:
        """Create a folder unless it is there, with those above it, and give a descriptor to close.

        Raises:
            LinkRefused: A link is on the way.
            OSError: The system refuses.
        """

    def below(self, path: StrOrBytesPath, *, follow: bool) -> Root:
        """Open a folder below it as a root of its own; see `open`."""

    def part(self, path: StrOrBytesPath) -> Root:
        """Open a folder below it as a root whose links may lead to all that is below this one.

        Raises:
            LinkRefused: A link is on the way.
            OSError: The system refuses.
        """

    def sync(self) -> None:
        """Put everything on disk that was written to its file system.

        Raises:
            OSError: The file system reported an error.
        """

def hash_files(
    paths: Sequence[StrOrBytesPath],
    algorithm: str,
    part_size: int,
    threads: int,
    stop: Stop | None,
    root: Root | None,
    memo: Memo | None = None,
) -> list[tuple[str, str, int] | OSError]:
    """Hash files in parallel: (hash, hash type, size) or the error of each, in the order given.

    Args:
        paths: Files; symbolic links are followed.
        algorithm: `md5` or `sha256-parts` (parts from one part's size on), `md5-whole`, `sha256`, or `sha1-fl`
            (lamindb's rule).
        part_size: Bytes in a part, doubled until 10,000 parts are enough.
        threads: The most threads; 0 is as many as are of use.
        stop: Ends the call within 0.1 seconds once it is set.
        root: What the paths are relative to; None if they stand for themselves.
        memo: Files that it knows are not read, if the algorithm is `md5` with parts of 8 MiB.

    Raises:
        RuntimeError: It was stopped.
        ValueError: The algorithm is unknown, or `part_size` is 0.
    """

def hash_bytes(data: Buffer, algorithm: str) -> tuple[str, str, int]:
    """Hash bytes in memory: (hash, hash type, size). Algorithms as in `hash_files`, with parts of 8 MiB."""

def crc32c(data: Buffer, before: int = 0) -> int:
    """Compute the CRC32C (Castagnoli) of bytes in memory.

    Args:
        data: The bytes.
        before: The CRC32C of the bytes that precede them in the content; 0 if there are none.

    Raises:
        OverflowError: `before` is no number of 32 bits.
    """

def crc32c_combine(first: int, second: int, second_length: int) -> int:
    """Give the CRC32C of two contents in a row.

    Args:
        first: The CRC32C of the first content.
        second: The CRC32C of the second content.
        second_length: The bytes in the second content.

    Raises:
        OverflowError: A CRC32C is no number of 32 bits, or the length is negative or above 64 bits.
    """

def hash_dir(
    path: StrOrBytesPath | Root,
    algorithm: str,
    exclude: Sequence[str],
    follow_symlinks: bool | Literal["anywhere"],
    threads: int,
    stop: Stop | None,
    memo: Memo | None = None,
) -> tuple[str, str, int, int]:
    """Hash a folder: (hash, hash type, bytes, files).

    Args:
        path: The folder.
        algorithm: `md5-tree` (names and contents) or `md5-d` (lamindb's, contents only).
        exclude: Patterns in gitignore syntax, on top of the `.inhaulignore` files.
        follow_symlinks: Follow links that stay within the folder, or all.
        threads: The most threads; 0 is as many as are of use.
        stop: Ends the call within 0.1 seconds once it is set.
        memo: Files that it knows are not read, if the algorithm is `md5-tree`.

    Raises:
        OSError: The folder or any file in it cannot be read.
        RuntimeError: It was stopped.
        ValueError: The folder holds no file, or the algorithm or a pattern is wrong.
    """

def suffix(name: str) -> str:
    """Give the canonical suffix of a file name, `""` when it has none."""

def accessor(suffix: str) -> str | None:
    """Name the in-memory type that files with this suffix load as, if there is one."""

def key_problem(key: str) -> str | None:
    """Say why a key is not valid, None when it is."""

def check_patterns(patterns: Sequence[str]) -> None:
    """Check patterns in gitignore syntax.

    Raises:
        ValueError: One is wrong; the message quotes it.
    """

def new_uid() -> str:
    """Make a random uid: 16 base62 characters and the version part `0000`."""

def next_uid(uid: str) -> str:
    """Give the uid of the next version: the same stem, the version part plus one.

    Raises:
        ValueError: Not a uid, or the last version there can be.
    """

def object_key(uid: str, tag: str, suffix: str) -> str:
    """Say where a virtual key's object lies, relative to the storage root.

    The tag, six characters of the writer's own, is part of the name from the second version on: others may write
    that version, too.

    Raises:
        ValueError: Not a uid.
    """

def copy_file(
    source: StrOrBytesPath,
    root: Root,
    name: StrOrBytesPath,
    expected: tuple[int, str, str] | None,
    source_root: Root | None,
) -> tuple[str, str, int]:
    """Copy a file in one read, hashing it on the way: (hash, hash type, size).

    On any failure no destination is left.

    Args:
        source: A regular file; symbolic links are followed.
        root: Where the destination is.
        name: The file to create there; its folder is created if it is missing.
        expected: (size, hash, hash type) that the content must have.
        source_root: What the source is relative to; None if its path stands for itself.

    Raises:
        FileChanged: The content differs from `expected`, or kept changing while it was read.
        FileExistsError: The destination exists.
        LinkRefused: A link is on the way to the destination, or one to the source leads out of its root.
        OSError: The source cannot be read or the destination cannot be written.
    """

def write_file(root: Root, name: StrOrBytesPath, data: Buffer) -> None:
    """Write bytes to a file below a root, creating its folder if it is missing; on any failure none is left.

    Raises:
        FileExistsError: The destination exists.
        LinkRefused: A link is on the way to it.
        OSError: The destination cannot be written.
    """

def filesystem_magic(path: StrOrBytesPath) -> int:
    """Give the type number of the file system of `path` (`f_type` of statfs).

    Raises:
        OSError: The path cannot be looked at.
    """

def file_state(path: StrOrBytesPath) -> tuple[_State, int] | None:
    """Give the state of a regular file and the number of its device; None if there is no such file, or it is a link.

    The client of a server asks the server.

    Raises:
        OSError: The path cannot be looked at.
    """

def has_writers(path: StrOrBytesPath) -> bool | None:
    """Say whether a file is open to write, or mapped so; None if that cannot be known.

    On a network file system, True may be wrong.
    """

@final
class Inotify:
    """Reports what happens in folders: creations, closing after writing, and renames."""

    def __new__(cls) -> Inotify:
        """Start without folders.

        Raises:
            OSError: The limit of the system is reached.
        """

    def fileno(self) -> int:
        """Give the descriptor, which can be read when there are events."""

    def add(self, folder: StrOrBytesPath) -> int:
        """Report changes in a folder, but not in those below it, from now on. Give the number of the watch.

        Raises:
            OSError: There is no such folder, or the limit of the system is reached (ENOSPC).
        """

    def remove(self, watch: int) -> None:
        """End the reports of a watch."""

    def events(self) -> list[tuple[int, int, bytes]]:
        """Take all events that there are: the watch, what happened as in inotify(7), and the name; does not wait.

        Raises:
            OSError: The system refuses.
        """

@final
class Listing:
    """Up to 8,192 files that the walk found, in path order; only files whose key is valid."""

    def __len__(self) -> int: ...
    def keys_json(self) -> str:
        """Give the keys as a JSON array; their positions are the ordinals."""

@final
class GivenFiles:
    """Files in a storage, in path order, that were listed with their hashes and are not read."""

    def __new__(
        cls,
        root: str,
        key_prefix: str,
        ordinal: int,
        files: Sequence[tuple[str, int, str, str]],
        left: Sequence[tuple[str, str, bool]],
        exclude: Sequence[str],
    ) -> GivenFiles:
        """Take what was listed.

        Args:
            root: The folder or address that the paths are relative to.
            key_prefix: Joined with a slash before every path, `""` for none.
            ordinal: Counts the parts of one listing.
            files: Path, size, hash and hash type of each, in byte order of the paths.
            left: Path of each that is left out, why, and whether its key is invalid: the issues of the batch.
            exclude: Patterns, in gitignore syntax, of files to leave out.

        Raises:
            ValueError: A hash or a pattern is wrong.
        """

    def __len__(self) -> int: ...
    def keys_json(self) -> str:
        """Give the keys as a JSON array; their positions are the ordinals."""

    def plan(self, salt: bytes, known: Sequence[_Known], folders: Set[int]) -> Batch:
        """Say what each file is to the registry.

        Args:
            salt: Makes the uids.
            known: What the registry knows of the keys.
            folders: The ordinals of keys that are known as folders.

        Raises:
            ValueError: A uid is wrong, or there can be no more versions of it.
        """

@final
class PathList:
    """A list of paths, taken in parts, as listings for a `Scanner` that does not walk.

    It remembers a digest of each path and key: 15 to 30 bytes.
    """

    def __new__(
        cls,
        root: StrOrBytesPath,
        *,
        key_prefix: str,
        in_place: bool,
        salt: bytes,
        exclude: Sequence[str],
        ignore_files: bool,
        follow_symlinks: bool | Literal["anywhere"],
        storages: Sequence[StrOrBytesPath],
    ) -> PathList:
        """Start a list.

        Args:
            root: The folder that relative paths are relative to, without links.
            key_prefix: Joined with a slash before every relative path, `""` for none.
            in_place: The files are objects already.
            salt: That of the scanner.
            exclude: Patterns in gitignore syntax of files to leave out.
            ignore_files: Ignore files below the root have an effect, as in a walk.
            follow_symlinks: That of the scanner.
            storages: The roots of storages whose files are refused.

        Raises:
            ValueError: A pattern is wrong.
        """

    def listing(self, entries: Sequence[_Entry]) -> tuple[Listing, list[int]] | None:
        """Take the next part of the list, at most 8,192 entries.

        Args:
            entries: Of each its path, its whole key if that does not follow from the path, why it is left out, and its
                state as of `file_state` if it may be read only in this state.

        Returns:
            The files, sorted by folder, and the position of each in the part; None if there is neither a file nor an
            issue.
        """

    def mistake(self, entries: Sequence[_Entry]) -> tuple[str, bool] | None:
        """Take the next part of the list, and describe the first mistake for which the whole list is refused.

        It is a second path with one key, or an address (True).
        """

@final
class Memo:
    """The hashes of files that were read before. For one call; written when that ends."""

    def __new__(
        cls, shelf: StrOrBytesPath, folder: StrOrBytesPath, *, anywhere: bool, rehash: bool, sample: int
    ) -> Memo:
        """Open the memo of a folder, or the one of the nearest folder above that has one.

        A memo that cannot be read is empty.

        Args:
            shelf: Where the memos are.
            folder: The folder.
            anywhere: Also trust the times of network file systems.
            rehash: Only compare: all files are read.
            sample: One in so many files that it knows is read all the same.

        Raises:
            ValueError: `sample` is 0.
        """

    @property
    def faults(self) -> list[bytes]:
        """Paths of the files whose hash was wrong in it. If there are any, it is removed."""

@final
class Recalled:
    """A listing whose files are all in the memo."""

    @property
    def range(self) -> tuple[str, str] | None:
        """The first and the last key; None without files."""

    def text(self) -> str:
        """Give key, size, hash and hash type of each file, each followed by two slashes."""

    @property
    def samples(self) -> tuple[list[int], str]:
        """The ordinals of the files that are read all the same, and their keys as a JSON array."""

@final
class Contents:
    """The contents seen so far, for `Batch.without_duplicates`."""

    def __new__(cls) -> Contents: ...

@final
class Batch:
    """Planned files in path order, as compact immutable columns."""

    def __len__(self) -> int: ...
    @property
    def counts(self) -> dict[str, int]:
        """Rows by status: `new`, `new_version`, `unchanged`."""

    @property
    def nbytes(self) -> int:
        """Sum of the sizes of the files, in bytes."""

    @property
    def issues(self) -> list[tuple[bytes, str, str, int]]:
        """(path, reason, message, errno or 0) of every file that is not a row, failed or skipped."""

    @property
    def successors(self) -> list[tuple[str, str]]:
        """(uid of the row it follows, its own uid) of every `new_version` row."""

    def keys_json(self) -> str:
        """Give the keys of all rows as a JSON array."""

    def rows_json(self, versions: Mapping[str, str]) -> str:
        """Give the rows to insert as JSON, in path order.

        Each is `[uid, key, object_key, suffix, accessor, size, hash, hash_type, version, verified_by]`: strings, null
        where there is none.

        Args:
            versions: Version strings by uid; a row whose uid is missing has none.
        """

    def rows_packed(self, versions: Mapping[str, str]) -> tuple[bytes, int, list[tuple[str | None, int, bool]]]:
        """Give the same rows as one block, each value padded with "/" to the width of its column.

        What is null in JSON is empty here. Columns of one value are not in the block.

        Args:
            versions: As above.

        Returns:
            The block, the number of rows, and of each column the value that all rows share, or else its width in bytes
            (0 if they share one) and whether any value is padded.
        """

    def unchanged_json(self) -> str:
        """Give the uids of the unchanged rows as a JSON array."""

    def row(self, i: int) -> _Row:
        """Give one row.

        Raises:
            IndexError: There is no row `i`.
        """

    def with_known(self, known: Sequence[_Known], own: Set[int]) -> tuple[Batch, list[str]]:
        """Plan again, after rows of this batch lost a race or were written before.

        A row that this batch made stays as it is. One whose content somebody else registered becomes `unchanged`
        under that uid; any other becomes the issue `conflict`.

        Args:
            known: What the registry knows now of all keys; ordinals are positions in this batch.
            own: The positions of the rows that this batch made.

        Returns:
            The batch as it stands now, and the object keys of own objects that no row will refer to.

        Raises:
            ValueError: A uid is wrong.
        """

    def without_duplicates(self, contents: Contents) -> Batch:
        """Keep only the first row of equal contents, across all batches that share `contents`."""

@final
class PartReader:
    """An open file that is read part by part, each part with its MD5, to be sent in parts.

    Safe to use from several threads. Holds nothing but the open file.
    """

    def __new__(cls, path: StrOrBytesPath, part_size: int = 8_388_608) -> PartReader:
        """Open a regular file and note its size and times; symbolic links are followed.

        Args:
            path: The file.
            part_size: Bytes in a part; doubled until 10,000 parts are enough, which makes the hash `md5-N`.

        Raises:
            OSError: It is no regular file, or cannot be opened.
            ValueError: `part_size` is 0.
        """

    @property
    def size(self) -> int:
        """Bytes in the file when it was opened."""

    @property
    def part_size(self) -> int:
        """Bytes in every part but the last; the file's size when it is smaller than one part."""

    @property
    def count(self) -> int:
        """How many parts, at least one."""

    def read(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Read neighbouring parts and hash them side by side: (content, binary MD5) of each.

        Raises:
            FileChanged: The file has become shorter.
            OSError: It cannot be read.
            ValueError: There are not so many parts.
        """

    def read_with_crc32c(self, first: int, count: int) -> list[tuple[bytes, bytes, int]]:
        """Read neighbouring parts as `read` does: (content, binary MD5, CRC32C) of each.

        Raises:
            FileChanged: The file has become shorter.
            OSError: It cannot be read.
            ValueError: There are not so many parts.
        """

    def digest(self, md5s: Sequence[bytes]) -> tuple[str, str, int]:
        """Give (hash, hash type, size) of the file, from the binary MD5s of all its parts in order.

        Raises:
            ValueError: They are not as many as there are parts.
        """

    def check(self) -> None:
        """Make sure that the file has held still since it was opened.

        Raises:
            FileChanged: It has not.
            OSError: It cannot be looked at.
        """

@final
class Scanner:
    """Walks a folder, hashes every file and, given a destination, copies it in the same read.

    Threads start at once. Call `next_listing` and `submit` until there is none left, and `next_batch`, from
    another thread or interleaved, until it gives None; then `close`.

    With `uploads`, what is new is not copied but handed over by `next_uploads`, until that gives None, and its row
    comes out when `stored` or `stored_large` says that the object is there. What is in memory is bounded: while too
    much of it waits for that, nothing more is read.
    """

    def __new__(
        cls,
        root: StrOrBytesPath | Root,
        *,
        walk: bool = True,
        key_prefix: str,
        in_place: bool,
        destination: Root | None,
        uploads: bool,
        salt: bytes,
        overwrite: bool,
        exclude: Sequence[str],
        follow_symlinks: bool | Literal["anywhere"],
        threads: int,
        memo: Memo | None = None,
    ) -> Scanner:
        """Start a scan.

        Args:
            root: The folder.
            walk: Walk the folder. Otherwise submit the listings of a `PathList`, then call `end`.
            key_prefix: Joined with a slash before every relative path, `""` for none.
            in_place: The files are objects already: the object key is the key.
            destination: Storage root to copy objects into; None copies nothing.
            uploads: Hand over what is new, to be sent to a storage.
            salt: Makes the uids; the same salt gives every path the same uid again.
            overwrite: Write over objects that an interrupted scan with this salt left.
            exclude: Patterns in gitignore syntax, on top of the `.inhaulignore` files.
            follow_symlinks: Follow links that stay within the root, or all.
            threads: The most threads; 0 is as many as are of use.
            memo: Files that it knows are not read, unless they must be stored.

        Raises:
            OSError: The root is no readable folder, or the destination cannot be opened.
            ValueError: The prefix makes no valid key, or a pattern is wrong.
        """

    @staticmethod
    def again(
        batches: Sequence[Batch],
        root: StrOrBytesPath | Root,
        *,
        destination: Root | None,
        uploads: bool,
        overwrite: bool,
        threads: int,
        memo: Memo | None = None,
    ) -> Scanner:
        """Start the second pass over staged batches: read what is new again, and copy it or hand it over.

        There are no listings; `next_batch` gives all rows again. A file that differs from what was staged
        becomes the issue `changed`.
        """

    @property
    def found(self) -> tuple[int, bool]:
        """How many files the walk has found so far, and whether it has finished."""

    @property
    def faults(self) -> list[bytes]:
        """Paths of the files whose hash was wrong in the memo."""

    def next_listing(self) -> Listing | None:
        """Wait for the next files of the walk, None at its end.

        Raises:
            RuntimeError: The scan was stopped, or one of its threads failed.
        """

    def wait_until_wanted(self) -> None:
        """Wait until the next listing of a `PathList` is of use, since few files wait to be read.

        Raises:
            RuntimeError: The scan was stopped, or one of its threads failed.
        """

    def end(self) -> None:
        """End the listings of a `PathList`."""

    def submit(self, listing: Listing, known: Sequence[_Known]) -> None:
        """Have the files of a listing read, hashed and stored; listings come in order.

        Args:
            listing: What `next_listing` gave.
            known: What the registry knows of its keys.

        Raises:
            ValueError: The listing is not the next one, or an ordinal or uid is wrong.
        """

    def recall(self, listing: Listing) -> Recalled | None:
        """Look at the files of a listing; None unless all are in the memo."""

    def submit_unchanged(self, recalled: Recalled, known: Sequence[_Known]) -> None:
        """Submit a listing whose files are all registered as they are remembered.

        Args:
            recalled: The listing.
            known: What the registry knows of its samples; ordinals are positions in the listing.

        Raises:
            RuntimeError: The scan was stopped.
            ValueError: The listing is not the next one, or a uid is wrong.
        """

    def next_batch(self) -> Batch | None:
        """Wait for results: 8,192 rows, or what there is 200 ms after the first; None at the end.

        Raises:
            RuntimeError: The scan was stopped, or one of its threads failed.
        """

    def next_uploads(self) -> list[_Upload] | None:
        """Wait for files to send, None at the end. A file below 8 MiB comes with its content.

        Each has to be settled by `stored`, `stored_large` or `not_stored`, or the scan will not end.

        Raises:
            RuntimeError: The scan was stopped, or one of its threads failed.
        """

    def stored(self, uploads: Sequence[tuple[int, str]]) -> None:
        """Settle files that came with their content and are stored: (ticket, verified by) of each.

        Raises:
            ValueError: No such file is being sent, or nothing verifies like that.
        """

    def stored_large(self, ticket: int, verified_by: str, digest: tuple[str, str, int]) -> None:
        """Settle a stored file that came with a reader, given what its `digest` said.

        Raises:
            ValueError: No such file is being sent, or nothing verifies like that.
        """

    def not_stored(self, ticket: int, message: str, errno: int) -> None:
        """Settle a file that the storage did not take, as the issue `not_stored`.

        Args:
            ticket: The file.
            message: What happened, for people.
            errno: The error's number, 0 for none.

        Raises:
            ValueError: No such file is being sent.
        """

    def not_read(self, ticket: int, message: str, errno: int) -> None:
        """Settle a large file that could not be read while it was sent.

        One that changed meanwhile, which has no errno, comes from `next_uploads` again, three times in all.

        Raises:
            ValueError: No such file is being sent.
        """

    def stop(self) -> None:
        """Ask the threads to end; waiting calls raise within 100 ms."""

    def close(self) -> None:
        """Stop, and wait until the threads have ended."""
