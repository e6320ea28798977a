"""The rules for names: keys, suffixes, uids, and places of objects. The Rust core implements them."""

from inhaul import _core
from inhaul._core import accessor, new_uid, next_uid, object_key, suffix
from inhaul.texts import is_storable

__all__ = (
    "FAMILY",
    "MARKS",
    "OBJECTS",
    "TEMPORARY",
    "UID",
    "accessor",
    "is_of_objects",
    "key_problem",
    "named_anew",
    "new_uid",
    "next_uid",
    "object_key",
    "stem",
    "suffix",
    "uid_of",
)

OBJECTS = ".inhaul"
"""Folder in a storage's root for the files that inhaul names; no key may lie in it, and no walk enters it."""

MARKS = f"{OBJECTS}/registries"
"""Folder in a storage's root with the marks of the registries that write to it, each named by its uid."""

TEMPORARY = f"{OBJECTS}/temporary"
"""Folder in a storage's root for files that get their final name once they are complete."""


UID = "[0-9A-Za-z]{20}"
"""A uid, as a pattern."""

FAMILY = 16
"""The characters of a uid that all versions of a record share; the others count them."""


def stem(uid: str) -> str:
    """Returns the common start of the uids of all versions of a record."""
    return uid[:FAMILY]


def uid_of(object_key: str) -> str:
    """Returns the uid in the key of an object that inhaul named."""
    return object_key.rpartition("/")[2][:20]


def is_of_objects(name: str) -> bool:
    """Returns True if inhaul keeps objects, marks or temporary files in the folder with this name in `OBJECTS`."""
    return len(name) == 1 or f"{OBJECTS}/{name}" in (MARKS, TEMPORARY)


def key_problem(key: str) -> str | None:
    """Returns the problem of a key, in words; None if it is valid."""
    if not is_storable(key) and "\0" not in key:
        return "it holds half of a surrogate pair, which is not UTF-8"
    return _core.key_problem(key)


def named_anew(uid: str, suffix: str) -> str:
    """Returns a new, unique object key for an artifact that has or had another object."""
    return f"{OBJECTS}/{uid[FAMILY - 1]}/{uid}.{new_uid()[:6]}{suffix}"
