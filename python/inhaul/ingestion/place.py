"""The place of one artifact's content, existing or planned."""

import errno
from typing import NamedTuple

from inhaul.arguments import check_key
from inhaul.content.base import Content, is_taken, loading_as
from inhaul.content.files import FileContent, FolderContent
from inhaul.content.remote import ObjectContent, PrefixContent
from inhaul.errors import InvalidKey, UnsupportedStorage
from inhaul.instance import Instance, StorageRow
from inhaul.keys import OBJECTS, suffix
from inhaul.stores import schemes
from inhaul.stores.schemes import relative_key


class Place(NamedTuple):
    """The place of an artifact's content, existing or planned.

    Attributes:
        storage: The storage.
        key: The artifact's key, or None.
        in_place: Whether the content is in the storage already.
    """

    storage: StorageRow
    key: str | None
    in_place: bool


async def content_at(instance: Instance, address: str, *, accessor: str | None = None) -> Content:
    """Returns the content at an address: an object, or all objects below a folder.

    Raises:
        FileNotFoundError: There is no object.
        InvalidKey: The address is the root of a storage, or not a valid key.
        UnsupportedStorage: The address names no bucket, or a folder where there are none.
        ValueError: The content does not load as the accessor.
    """
    place = schemes.locate(address)
    location = str(place)
    storage = await instance.storages.of(location)
    key = relative_key(location, storage.root) if storage is not None else None
    if storage is None or not key:
        raise InvalidKey(f"{address} is the root of a storage: pass an object or a folder in it")
    store = instance.store(storage.root)
    if place.prefix.endswith("/") and not store.lists:
        raise UnsupportedStorage(f"{storage.root} does not list its files, so it has no folders: pass one of the files")
    if not place.prefix.endswith("/") and await store.stat(key) is not None:
        return loading_as(ObjectContent(location, instance, storage.root, key), accessor)
    if await is_taken(store, key):
        return loading_as(PrefixContent(location, instance, storage.root, key), accessor)
    raise FileNotFoundError(errno.ENOENT, "There is no such object or folder", address)


async def locate(
    instance: Instance,
    content: Content,
    key: str | None,
    *,
    inherited: str | None = None,
    labelled: bool,
    root: str | None = None,
) -> Place:
    """Finds the place for content, or the place where it already is.

    Args:
        instance: The instance with the storages.
        content: The content.
        key: The key that the user gave, or None.
        inherited: The key to use outside a storage if the user gave none.
        labelled: Whether the artifact has a run or a description, and so needs no key.
        root: The root of the storage that the user gave. None means the storage that contains the content, or the
            default one.

    Raises:
        InvalidKey: The key is not valid, or the path is an object that belongs to no artifact.
        ValueError: The key or the storage contradicts the path of the content, the key has another suffix, or there is
            neither a key, a run nor a description.
    """
    where = content.location
    storage = await instance.storages.of(where) if where is not None else None
    if where is not None and root is not None:
        if relative_key(where, root) is not None and (storage is None or len(storage.root) < len(root)):
            storage = await instance.storages.at(root)
        if storage is not None and storage.root != root:
            raise ValueError(
                f"{where} lies in the storage {storage.root}, not in {root}: leave storage= out, or pass a copy that "
                "lies outside all storages"
            )
    if where is not None and storage is not None:
        inferred = relative_key(where, storage.root)
        if not inferred:
            raise InvalidKey(f"{where} is the root of a storage: pass a file or folder in it")
        if not is_object(inferred):
            inferred = await _key_of_link(instance, content, storage) or inferred
            if isinstance(content, FolderContent) and content.follow_symlinks:
                raise ValueError(
                    f"{where} lies in the storage {storage.root}, where links in a folder are not followed: leave "
                    "follow_symlinks= out, or pass a folder outside all storages"
                )
            if key is not None and key != inferred:
                raise ValueError(
                    f"{where} lies in the storage {storage.root}, where its key is {inferred!r}, not {key!r}: "
                    "leave key= out, or move the file"
                )
            check_key(inferred)
        return Place(storage, inferred, in_place=True)
    key = inherited if key is None else key
    if key is None and not labelled:
        raise ValueError("Pass one of key, run or description as a parameter")
    if key is not None:
        check_key(key)
        if suffix(key) != content.suffix:
            raise ValueError(f"The key {key!r} should end in {content.suffix!r}, the suffix of the content")
    return Place(await instance.storages.at(root or instance.root), key, in_place=False)


async def _key_of_link(instance: Instance, content: Content, storage: StorageRow) -> str | None:
    """Returns the key of a link to content in the same storage. The link has its own name and its own lifetime."""
    if not isinstance(content, FileContent | FolderContent) or content.link is None:
        return None
    own = await instance.storages.of(content.link)
    return relative_key(content.link, storage.root) if own is None or own.root == storage.root else None


def is_object(key: str) -> bool:
    """Returns True if a key is that of an object that inhaul named."""
    return key.split("/", 1)[0] == OBJECTS
