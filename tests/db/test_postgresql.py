"""What a PostgreSQL server, or a pooler before it, can require of a client or deny it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

import inhaul
from inhaul import Artifact, ULabel
from inhaul.db.engine import Database
from inhaul.errors import (
    DatabaseBusy,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseUnreachable,
    InhaulError,
    UnsupportedDatabase,
    ValidationError,
)
from servers import PostgreSQL

MANY = (
    "INSERT INTO ulabel (uid, name, created_at, updated_at, created_by_id)"
    " SELECT n, 'label ' || n, now(), now(), 1 FROM generate_series(1, 2000) n"
)
SECRET = "s3cret/@:"  # noqa: S105


@pytest.fixture
def url(postgresql_server: PostgreSQL) -> Iterator[str]:
    with postgresql_server.database() as url:
        yield url


@pytest.fixture
async def admin(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection of the administrator, without inhaul."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def used(url: str) -> None:
    """Writes and reads, as a program does."""
    database = Database(url)
    for _ in range(2):
        async with database.write() as conn:
            await conn.execute(text("SELECT 1"))
        async with database.read() as conn:
            await conn.execute(text("SELECT 1"))
    await database.aclose()


# --- addresses


@pytest.mark.parametrize(
    ("rest", "arguments"),
    [
        ("ann:pw@db.example/lab", {"user": "ann", "password": "pw", "host": ["db.example"], "database": "lab"}),
        ("ann:p%40%2Fw@db.example:6543/lab", {"password": "p@/w", "port": [6543]}),
        ("ann:p@/w@db.example/lab", {"password": "p@/w", "host": ["db.example"]}),
        ("[2001:db8::1]:6543/lab", {"host": ["2001:db8::1"], "port": [6543]}),
        ("one:1,two:2,three/lab", {"host": ["one", "two", "three"], "port": [1, 2, 5432]}),
        ("/lab?host=one,two&port=6543", {"host": ["one", "two"], "port": [6543, 6543]}),
        ("%2Frun%2Fpostgresql/lab", {"host": ["/run/postgresql"]}),
        ("/lab?host=/run/postgresql&user=ann&password=pw", {"user": "ann", "password": "pw"}),
        ("?dbname=lab&port=6543", {"database": "lab", "port": 6543}),
        ("db/lab?connect_timeout=10", {"timeout": 10.0}),
        ("db/lab?connect_timeout=0", {"dsn": None}),
        ("db/lab?sslmode=require", {"dsn": "postgresql://?sslmode=require"}),
        ("db/lab?sslmode=verify-full&sslrootcert=system", {"ssl": "system"}),
        ("db/lab?ssl=true", {"dsn": "postgresql://?sslmode=require"}),
        ("db/lab?ssl=verify-full", {"dsn": "postgresql://?sslmode=verify-full"}),
        ("db/lab?application_name=my%20app", {"dsn": "postgresql://?application_name=my%20app"}),
        ("db/lab?fallback_application_name=psql", {"dsn": "postgresql://?application_name=psql"}),
        ("db/lab?options=-c%20search_path%3Dlab", {"dsn": "postgresql://?options=-c%20search_path%3Dlab"}),
        ("db/lab?target_session_attrs=read-write", {"dsn": "postgresql://?target_session_attrs=read-write"}),
        ("db/lab?channel_binding=prefer&gssencmode=disable&client_encoding=UTF8", {"dsn": None}),
        ("?service=lab", {"dsn": "postgresql://?service=lab"}),
    ],
)
def test_an_address_of_libpq_is_understood(rest: str, arguments: dict[str, object]) -> None:
    for scheme in ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"):
        made = Database(f"{scheme}://{rest}")._address.arguments  # type: ignore[union-attr]
        assert {name: made.get(name) for name in arguments} == arguments


def test_certificates_are_passed_on(tmp_path: Path) -> None:
    for name in ("root.crt", "my.crt", "my.key"):
        (tmp_path / name).touch()
    files = f"sslrootcert={tmp_path}/root.crt&sslcert={tmp_path}/my.crt&sslkey={tmp_path}/my.key"
    dsn = Database(f"postgresql://db/lab?sslmode=verify-ca&{files}")._address.arguments["dsn"]  # type: ignore[union-attr]
    assert all(f"{tmp_path.name}%2F{name}" in dsn for name in ("root.crt", "my.crt", "my.key"))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("channel_binding=require", "channel_binding=require .* remove it, or use sslmode=verify-full"),
        ("gssencmode=require", "gssencmode=require .* remove it"),
        ("client_encoding=LATIN1", "client_encoding=LATIN1 .* remove it"),
        ("sslmode=on", "sslmode=on .* use one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslrootcert=/none/root.crt", "sslrootcert=/none/root.crt .* there is no such file"),
        ("sslcert=/none/my.crt", "sslcert=/none/my.crt .* there is no such file"),
        ("target_session_attrs=fastest", "target_session_attrs=fastest .* use one of any"),
        ("connect_timeout=soon", "connect_timeout=soon .* number of seconds"),
        ("search_path=lab", "'search_path', which inhaul does not know.* options=-c%20NAME=VALUE"),
        ("prepared_statement_cache_size=0", "'prepared_statement_cache_size', .* remove it"),
        ("pgbouncer=true", "'pgbouncer', .* remove it"),
        ("flag", "a parameter without a value"),
        ("port=80,81,82", "one port for all hosts"),
        ("port=0", "a port in the address is not a number from 1 to 65535"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(query: str, named: str) -> None:
    with pytest.raises(UnsupportedDatabase, match=named) as caught:
        inhaul.connect(db=f"postgresql://ann:{SECRET}@one,two/lab?password={SECRET}&sslpassword={SECRET}&{query}")
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address", [f"ann:{SECRET}@host:port/lab", "ann:s3cret/@:b@:c", "ann@host:99999/lab", "::1/lab"]
)
def test_an_address_that_cannot_be_read_shows_no_password(address: str) -> None:
    with pytest.raises(UnsupportedDatabase) as caught:
        Database(f"postgresql://{address}")
    assert "s3cret" not in str(caught.value)


def test_addresses_are_shown_without_passwords() -> None:
    for address, shown in (
        (f"ann:{SECRET}@one:1,two/lab", "ann:***@one:1,two/lab"),
        (f"ann@one/lab?password={SECRET}&sslpassword={SECRET}", "ann:***@one/lab"),
        ("/lab?host=/run/pg&port=6543", "/lab?host=/run/pg&port=6543"),
        ("one/lab?options=-c%20search_path%3Da", "one/lab?options=-c%20search_path%3Da"),
        ("[::1]:5433/lab", "[::1]:5433/lab"),
    ):
        database = Database(f"postgresql://{address}")
        assert str(database) == f"postgresql://{shown}"
        assert "s3cret" not in repr(database) + repr(database._address)


@pytest.mark.parametrize(
    "query",
    [
        "application_name=lab",
        "connect_timeout=10",
        "options=-c%20search_path%3Dpublic",
        "target_session_attrs=read-write",
        "sslmode=prefer",
        "ssl=false",
        "channel_binding=prefer",
    ],
)
async def test_parameters_reach_the_server(query: str, url: str) -> None:
    await used(f"{url}&{query}")


async def test_a_service_file_is_read(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _, host = url.partition("?host=")
    file = tmp_path / "services"
    file.write_text(f"[lab]\nhost={host}\ndbname={place.rpartition('/')[2]}\nuser=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    await used("postgresql://?service=lab")


# --- poolers


async def test_programs_run_one_after_the_other_through_a_pooler(pooled_server: PostgreSQL, tmp_path: Path) -> None:
    """Each program gets connections on which earlier programs prepared statements."""
    (tmp_path / "a.txt").write_text("a")
    with pooled_server.database() as url:
        for number in range(4):
            async with inhaul.connect(storage=tmp_path / "storage", db=url):
                await Artifact(tmp_path / "a.txt", key=f"{number}.txt").save()
                assert await Artifact.filter().count() == number + 1
                assert [artifact.key async for artifact in Artifact.filter().order_by("key")] == [
                    f"{done}.txt" for done in range(number + 1)
                ]


async def test_many_at_once_share_the_few_connections_of_a_pooler(pooled_server: PostgreSQL, tmp_path: Path) -> None:
    with pooled_server.database() as url:
        async with inhaul.connect(storage=tmp_path / "storage", db=url):
            async with asyncio.TaskGroup() as tasks:
                for number in range(60):
                    tasks.create_task(ULabel(str(number)).save())
            assert await ULabel.filter().count() == 60


@pytest.mark.parametrize("pooled", [False, True])
async def test_statements_stay_prepared_only_without_a_pooler(
    pooled: bool, pooled_server: PostgreSQL, postgresql_server: PostgreSQL
) -> None:
    with (pooled_server if pooled else postgresql_server).database() as url:
        database = Database(url)
        await database.prepare()
        async with database.read() as conn:
            prepared = await conn.execute(text("SELECT count(*) FROM pg_prepared_statements"))
            assert (prepared.scalar_one() == 0) is pooled
        await database.aclose()


# --- what a server denies


async def test_a_database_that_has_not_all_characters_is_refused(
    url: str, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    name = f"{url.partition('?')[0].rpartition('/')[2]}_latin1"
    await admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(UnsupportedDatabase, match=r"has the encoding LATIN1.*ENCODING 'UTF8'"):
            await used(url.replace("?", "_latin1?", 1))
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def role(url: str, admin: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[str]:
    """A role without rights. It may not even make tables in the schema that all share."""
    name = f"role_{url.partition('?')[0].rpartition('/')[2]}"
    await admin.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def as_role(url: str, role: str) -> str:
    return url.replace("postgres:@", f"{role}@")


async def test_a_role_that_may_not_make_tables_is_told_what_to_grant(url: str, role: str) -> None:
    database = Database(as_role(url, role))
    async with database.read() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM artifact"))).scalar_one() == 0
    with pytest.raises(DatabaseDenied, match=f"no registry yet, and the role {role} .*GRANT CREATE ON SCHEMA public"):
        async with database.write():
            pass
    await database.aclose()


async def test_a_role_that_may_read_nothing_is_denied(url: str, role: str) -> None:
    await used(url)
    with pytest.raises(DatabaseDenied, match="lacks a privilege"):
        async with Database(as_role(url, role)).read():
            pass


async def test_a_role_that_may_only_read_is_denied_writes(
    url: str, role: str, admin: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    (tmp_path / "a.txt").write_text("a")
    async with inhaul.connect(storage=storage, db=url):
        await Artifact(tmp_path / "a.txt", key="a.txt").save()
    await admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    before = {path for path in storage.rglob("*") if path.is_file()}
    async with inhaul.connect(storage=storage, db=as_role(url, role)):
        assert [artifact.key async for artifact in Artifact.filter()] == ["a.txt"]
        found = await Artifact.filter(key="a.txt").one()
        assert (await found.cache()).read_text() == await found.load() == "a"
        (tmp_path / "b.txt").write_text("b")
        for write in (Artifact(tmp_path / "b.txt", key="b.txt").save(), ULabel("b").save(), inhaul.ingest(tmp_path)):
            with pytest.raises(DatabaseDenied, match=f"GRANT INSERT, UPDATE, DELETE .* TO {role}"):
                await write
        assert {path for path in storage.rglob("*") if path.is_file()} == before
        await admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        await admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        await Artifact(tmp_path / "b.txt", key="b.txt").save()


async def test_writes_are_denied_where_transactions_may_only_read(url: str) -> None:
    await used(url)
    database = Database(f"{url}&options=-c%20default_transaction_read_only%3Don")
    async with database.read() as conn:
        await conn.execute(text("SELECT * FROM artifact"))
    with pytest.raises(DatabaseDenied, match="default_transaction_read_only"):
        async with database.write():
            pass
    await database.aclose()


async def test_an_older_or_newer_registry_that_may_only_be_read_is_refused(
    url: str, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await used(url)
    read_only = f"{url}&options=-c%20default_transaction_read_only%3Don"
    await admin.execute("UPDATE inhaul_version SET version_num = '0001'")
    with pytest.raises(DatabaseDenied, match=r"older inhaul \(schema 0001, .* connect once with this release"):
        await Database(read_only).prepare()
    await admin.execute("UPDATE inhaul_version SET version_num = '9999'")
    with pytest.raises(inhaul.errors.SchemaTooNew):
        await Database(read_only).prepare()


# --- what a server ends


@pytest.mark.parametrize(
    ("statement", "error", "message"),
    [
        ("SELECT pg_sleep(60)", DatabaseBusy, "statement_timeout"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseUnreachable, "ended the connection"),
        ("CREATE TABLE s.t (x INTEGER)", UnsupportedDatabase, "no schema"),
        ("SELECT * FROM none", UnsupportedDatabase, "its tables differ from those that inhaul made"),
        ("SELECT none FROM artifact", UnsupportedDatabase, "its tables differ from those that inhaul made"),
        ("SELECT 1 / 0", ValidationError, "division by zero"),
        ("DO $$ BEGIN RAISE 'odd' USING ERRCODE = 'XX000'; END $$", DatabaseFailed, "odd.* SQLSTATE XX000"),
        *(
            (f"DO $$ BEGIN RAISE 'odd' USING ERRCODE = '{state}'; END $$", error, message)
            for state, error, message in (
                ("08006", DatabaseUnreachable, r"the connection .*failed"),
                ("25006", DatabaseDenied, "may only read"),
                ("40001", DatabaseBusy, r"conflicts with another one \(odd\): repeat the call"),
                ("40P01", DatabaseBusy, r"conflicts with another one \(odd\): repeat the call"),
                ("42501", DatabaseDenied, r"lacks a privilege \(odd\)"),
                ("53100", inhaul.errors.StorageFull, "no space left"),
                ("53200", DatabaseBusy, r"lacks resources \(odd\)"),
                ("54000", ValidationError, "odd"),
                ("55P03", DatabaseBusy, "lock_timeout"),
                ("57P01", DatabaseUnreachable, r"ended the connection \(odd\)"),
                ("57P03", DatabaseUnreachable, r"ended the connection \(odd\)"),
                ("58030", DatabaseFailed, r"the server failed \(odd, SQLSTATE 58030\)"),
                ("P0001", DatabaseFailed, r"the server failed \(odd, SQLSTATE P0001\)"),
                ("XX001", DatabaseFailed, r"the server failed \(odd, SQLSTATE XX001\)"),
            )
        ),
    ],
)
async def test_errors_of_a_server_become_ours(statement: str, error: type[InhaulError], message: str, url: str) -> None:
    await used(url)
    database = Database(f"{url}&options=-c%20statement_timeout%3D200")
    for use in (database.read, database.write):
        with pytest.raises(error, match=message) as caught:
            async with use() as conn:
                await conn.execute(text(statement))
        assert database._address.shown.rpartition("/")[2] in str(caught.value)  # type: ignore[union-attr]
    await database.aclose()


async def test_an_error_at_the_commit_becomes_ours(url: str) -> None:
    database = Database(url)
    async with database.write() as conn:
        await conn.execute(
            text("CREATE FUNCTION f() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN RAISE 'late'; END $$")
        )
        await conn.execute(text("CREATE TABLE t (x INTEGER)"))
        deferred = "CREATE CONSTRAINT TRIGGER c AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        await conn.execute(text(f"{deferred} FOR EACH ROW EXECUTE FUNCTION f()"))
    with pytest.raises(DatabaseFailed, match="late"):
        async with database.write() as conn:
            await conn.execute(text("INSERT INTO t VALUES (1)"))
    await database.aclose()


@pytest.fixture
async def labels(url: str, tmp_path: Path) -> AsyncIterator[str]:
    async with inhaul.connect(storage=tmp_path / "storage", db=url):
        await inhaul.save([ULabel(str(number)) for number in range(5)])
    yield url


async def test_a_slow_reader_meets_the_limit_of_an_idle_transaction(
    labels: str, admin: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    limited = f"{labels}&options=-c%20idle_in_transaction_session_timeout%3D100"
    async with inhaul.connect(storage=tmp_path / "storage", db=limited):
        async for _ in ULabel.filter():  # all five were sent at once
            await asyncio.sleep(0.2)
        await admin.execute(MANY)
        with pytest.raises(DatabaseUnreachable, match=r"idle_in_transaction_session_timeout may have ended it: read"):
            async for label in ULabel.filter():
                await asyncio.sleep(0.3 if label.name == "0" else 0)
        assert await ULabel.filter().count() == 2005


async def test_a_server_that_goes_away_ends_an_iteration_with_an_error(
    labels: str, admin: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    async with inhaul.connect(storage=tmp_path / "storage", db=labels):
        await admin.execute(MANY)
        with pytest.raises(DatabaseUnreachable):
            async for _ in ULabel.filter():
                await admin.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        assert await ULabel.filter().count() == 2005


async def test_a_lock_that_is_not_free_in_time_is_an_error(
    labels: str, admin: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    async with inhaul.connect(storage=tmp_path / "storage", db=f"{labels}&options=-c%20lock_timeout%3D100"):
        async with admin.transaction():
            await admin.execute("LOCK TABLE ulabel")
            with pytest.raises(DatabaseBusy, match="lock_timeout: repeat the call"):
                await ULabel("new").save()
        await ULabel("new").save()


async def test_a_deadlock_is_an_error_of_one_writer(url: str) -> None:
    database = Database(url)
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE t (x INTEGER)"))
        await conn.execute(text("INSERT INTO t VALUES (1), (2)"))
    both = asyncio.Barrier(2)

    async def update(first: int, second: int) -> None:
        async with database.write() as conn:
            for number in (first, second):
                await conn.execute(text("UPDATE t SET x = x WHERE x = :number"), {"number": number})
                if number == first:
                    await both.wait()

    ended = await asyncio.gather(update(1, 2), update(2, 1), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["DatabaseBusy", "NoneType"]
    await database.aclose()


async def test_more_connections_than_a_role_may_have_are_refused(
    url: str, role: str, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await used(url)
    await admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; ALTER ROLE {role} CONNECTION LIMIT 1")
    database = Database(as_role(url, role))
    async with database.read():
        with pytest.raises(DatabaseBusy, match="takes no more connections"):
            async with database.read():
                pass
    await database.aclose()
