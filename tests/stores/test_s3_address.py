"""How the address of a storage on S3 is read."""

import pytest

from inhaul.errors import UnsupportedStorage
from inhaul.stores.s3.address import S3Address


@pytest.mark.parametrize(
    ("address", "expected", "canonical"),
    [
        ("s3://bucket", S3Address("bucket", ""), "s3://bucket"),
        ("s3://bucket/", S3Address("bucket", ""), "s3://bucket"),
        ("s3://bucket/a/b/", S3Address("bucket", "a/b"), "s3://bucket/a/b"),
        (
            "s3://my.bucket/a?endpoint_url=http://host:9000/",
            S3Address("my.bucket", "a", "http://host:9000"),
            "s3://my.bucket/a?endpoint_url=http://host:9000",
        ),
        (
            "s3://bucket?endpoint_url=https%3A%2F%2Fhost",
            S3Address("bucket", "", "https://host"),
            "s3://bucket?endpoint_url=https://host",
        ),
    ],
)
def test_addresses_have_a_canonical_form(address: str, expected: S3Address, canonical: str) -> None:
    assert S3Address.parse(address) == expected
    assert str(expected) == canonical
    assert S3Address.parse(canonical) == expected


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket/a",
        "s3://",
        "s3:///a",
        "s3://b",
        "s3://bucket/a//b",
        "s3://bucket/../a",
        "s3://bucket/.inhaul",
        "s3://AKIAX:hidden@bucket/a",
        "s3://bucket?secret=hidden",
        "s3://bucket?endpoint_url=ftp://host",
        "s3://bucket?endpoint_url=http://user:hidden@host",
        "s3://bucket/a#hidden",
    ],
)
def test_what_is_no_address_is_refused_without_showing_secrets(address: str) -> None:
    with pytest.raises(UnsupportedStorage, match="s3://bucket/prefix") as raised:
        S3Address.parse(address)
    assert "hidden" not in str(raised.value)


def test_keys_lie_below_the_prefix() -> None:
    assert S3Address("bucket", "a").key("b/c") == "a/b/c"
    assert S3Address("bucket", "").key("b/c") == "b/c"
