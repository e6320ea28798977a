"""Which store an address or a path means."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import inhaul
from inhaul import Artifact, Storage
from inhaul.errors import UnsupportedStorage
from inhaul.stores import schemes
from inhaul.stores.abilities import Ability, RemoteReport
from inhaul.stores.base import Scheme
from inhaul.stores.s3 import store as s3
from inhaul.stores.s3.address import S3Address
from trees import write


class OtherAddress(S3Address):
    """The address of a storage that differs from S3 only in its scheme."""

    scheme = "other"


def _check_options(options: Mapping[str, Any]) -> None:
    if options.keys() - {"colour"}:
        raise ValueError("storage_options: only colour is known")


async def _probe(root: str, options: Mapping[str, Any]) -> RemoteReport:
    return RemoteReport(root, [Ability("have a colour", True, True, options["colour"])])


SCHEME = Scheme(
    store=lambda root, options: s3.S3Store(OtherAddress.parse(root), _without_colour(options)),
    parse=OtherAddress.parse,
    locate=OtherAddress.locate,
    check_options=_check_options,
    endpoint=lambda options: None,
    region=lambda options: options.get("colour", "nowhere"),
    probe=_probe,
)

OTHER = schemes.Kind(__name__, aliases=("another",))


def _without_colour(options: Mapping[str, Any]) -> Mapping[str, Any]:
    _check_options(options)
    return {}


@pytest.fixture
async def instance_of_another_kind(
    s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[inhaul.Instance]:
    monkeypatch.setattr(schemes, "SCHEMES", {**schemes.SCHEMES, "other": OTHER})
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(s3_root.replace("s3://", "other://"), url) as instance:
        yield instance


async def test_a_kind_of_storage_is_one_entry_of_the_table(
    instance_of_another_kind: inhaul.Instance, tmp_path: Path
) -> None:
    assert instance_of_another_kind.root.startswith("other://")
    write(tmp_path / "tree" / "a.txt", "a")
    write(tmp_path / "tree" / "large.bin", bytes(9 << 20))
    assert (await inhaul.ingest(tmp_path / "tree")).counts["new"] == 2
    artifact = await Artifact(write(tmp_path / "b.txt", "b"), key="in/b.txt", key_is_virtual=False).save()
    assert await artifact.load() == "b"
    storage = await Storage.filter(root=instance_of_another_kind.root).one()
    assert (storage.type, storage.region) == ("other", "nowhere")
    where = instance_of_another_kind.root.replace("?", "/in/b.txt?")
    assert (await Artifact(where)) == artifact
    folder = instance_of_another_kind.root.replace("?", "/in?")
    assert [one.key for one in await Artifact.from_dir(folder).save()] == ["in/b.txt"]
    assert (await inhaul.verify()).ok
    await artifact.delete(permanent=True, storage=True)
    assert (await inhaul.gc(delete=True)).objects == []
    inside = str(SCHEME.locate(where).at(""))
    assert (inside, schemes.relative_key(where, inside)) == (
        f"other://{urlsplit(where).netloc}?{urlsplit(where).query}",
        urlsplit(where).path[1:],
    )


async def test_an_alias_means_the_same_storage(instance_of_another_kind: inhaul.Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "b.txt", "b"), key="b.txt", key_is_virtual=False).save()
    root = instance_of_another_kind.root
    alias = root.replace("other://", "another://")
    assert schemes.checked_root(alias) == schemes.canonical_root(alias) == root
    assert await Artifact(alias.replace("?", "/b.txt?")) == artifact
    assert (await inhaul.testremote("another://bucket", {"colour": "red"})).url == "other://bucket"


async def test_an_unknown_scheme_names_those_that_are_known(instance_of_another_kind: inhaul.Instance) -> None:
    known = "this release knows local folders, s3://, gs://, az://, https://, http://, hf:// and other://"
    with pytest.raises(UnsupportedStorage, match=f"^ftp:// is not supported: {known}$"):
        Storage("ftp://bucket")


async def test_options_reach_only_storages_of_the_type_that_they_are_for(
    instance_of_another_kind: inhaul.Instance, s3_root: str, tmp_path: Path
) -> None:
    other, url = instance_of_another_kind.root, f"sqlite:///{tmp_path / 'second.db'}"
    local, others, of_s3 = str(tmp_path / "local"), {"colour": "red"}, {"client_kwargs": {"region_name": "blue"}}
    options: dict[str, Any]
    for root, options in ((other, others), (s3_root, of_s3), (local, others), (local, of_s3)):
        async with inhaul.connect(root, url, storage_options=options) as instance:
            regions = [instance.stores.kind_of(one).region for one in (other, s3_root)]
            assert regions == (["red", "us-east-1"] if options is others else ["nowhere", "blue"])
            for one in (other, s3_root):
                assert await instance.stores.at(one).stat("none") is None
    for root in (other, s3_root, local):
        with pytest.raises(ValueError, match="storage_options"):
            inhaul.connect(root, url, storage_options={"colour": "red", "client_kwargs": {}})


async def test_a_test_is_one_of_the_scheme(instance_of_another_kind: inhaul.Instance) -> None:
    report = await inhaul.testremote("other://bucket", {"colour": "red"})
    assert [ability.detail for ability in report.abilities] == ["red"]
