"""The version of a file that an ingest finds changed, and how it finds that.

The registry is asked once per listing. The scanner then decides for each file as soon as it is read:

| the registry's row for (storage, key) | its content against the file's | status                |
|---------------------------------------|--------------------------------|-----------------------|
| none                                  | -                              | `new`                 |
| live                                  | same size, hash and hash type  | `unchanged`           |
| live                                  | other                          | `new_version`         |
| in the trash only                     | any                            | failed, `trashed`     |

If another writer inserts a row between the question and our insert, that row wins. Then the file is `unchanged` if the
content is the same, and otherwise fails as `conflict`.
"""

from collections.abc import Iterable


def next_version(versions: Iterable[str | None]) -> str:
    """Returns the version that follows those of a family: its highest major, plus one.

    The first artifact of a family may have no version. It counts as "1", and becomes "1" when it gets a successor.

    Raises:
        ValueError: No version of the family starts with a number.
    """
    majors = []
    for version in versions:
        major = "1" if version is None else version.split(".")[0]
        if major.isascii() and major.isdigit():
            majors.append(int(major))
    if not majors:
        raise ValueError("No version of this artifact starts with a number: pass version= for the next one")
    return str(max(majors) + 1)
