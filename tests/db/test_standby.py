"""A hot standby of a PostgreSQL server, which is only read, and a server that speaks TLS."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

import inhaul
import inhaul.sync
from inhaul import ULabel
from inhaul.errors import DatabaseDenied, DatabaseUnreachable
from servers import PostgreSQL
from wires import wire


@pytest.fixture(scope="module")
def url(postgresql_server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry with one label."""
    with postgresql_server.database() as url:
        with inhaul.sync.connect(tmp_path_factory.mktemp("registry"), url):
            inhaul.sync.ULabel("tumour").save()
        yield url


@pytest.fixture
async def tls(postgresql_server: PostgreSQL, url: str, tmp_path: Path) -> AsyncIterator[str]:
    """The address of that registry behind TLS, with {host} and {query}; `tmp_path` has certificates of issuers."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "issuer.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(certificate)
    async with wire(str(postgresql_server.folder / ".s.PGSQL.5432"), certificate) as made:
        yield f"postgresql://postgres@{{host}}:{made.port}{urlsplit(url).path}?{{query}}"


async def test_a_standby_is_read_and_refuses_to_be_written(
    postgresql_server: PostgreSQL, url: str, tmp_path: Path
) -> None:
    with postgresql_server.standby() as folder:
        async with inhaul.connect(tmp_path / "storage", f"postgresql://postgres@{urlsplit(url).path}?host={folder}"):
            label = await ULabel.filter().one()
            assert label.name == "tumour"
            label.description = "changed"
            for record in (label, ULabel("other")):
                with pytest.raises(DatabaseDenied, match="read-only standby: write to its primary") as error:
                    await record.save()
                assert "\n" not in str(error.value)
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=require",
        "ssl=true",
        "sslmode=prefer",
        "sslmode=verify-ca&sslrootcert=issuer.pem",
        "sslmode=verify-full&sslrootcert=issuer.pem",
    ],
)
async def test_a_server_with_tls_is_read(tls: str, tmp_path: Path, query: str) -> None:
    async with inhaul.connect(tmp_path / "storage", tls.format(host="localhost", query=query)):
        assert await ULabel.filter().count() == 1


@pytest.mark.parametrize(
    ("query", "host"),
    [
        ("sslmode=verify-full&sslrootcert=other.pem", "localhost"),
        ("sslmode=verify-ca&sslrootcert=other.pem", "localhost"),
        ("sslmode=require&sslrootcert=other.pem", "localhost"),
        ("sslmode=verify-full&sslrootcert=system", "localhost"),
        ("sslmode=verify-full&sslrootcert=issuer.pem", "127.0.0.1"),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_said_to_be_so(
    tls: str, tmp_path: Path, query: str, host: str
) -> None:
    async with inhaul.connect(tmp_path / "storage", tls.format(host=host, query=query)):
        with pytest.raises(DatabaseUnreachable, match=r"certificate .* sslrootcert") as error:
            await ULabel.filter().count()
    assert "\n" not in str(error.value)


async def test_a_server_without_tls_is_refused_where_it_is_required(
    postgresql_server: PostgreSQL, url: str, tmp_path: Path
) -> None:
    async with wire(str(postgresql_server.folder / ".s.PGSQL.5432")) as made:
        plain = f"postgresql://postgres@localhost:{made.port}{urlsplit(url).path}?sslmode=require"
        async with inhaul.connect(tmp_path / "storage", plain):
            with pytest.raises(DatabaseUnreachable, match="SSL") as error:
                await ULabel.filter().count()
    assert "\n" not in str(error.value)
