import asyncio
import random
import sqlite3
import tempfile
import threading
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

import children
from inhaul.db import sqlite as sqlite_files
from inhaul.db.engine import Database
from inhaul.db.sqlite import NetworkFilesystemWarning
from inhaul.db.tables import user
from inhaul.errors import DatabaseBusy, DatabaseUnreachable, NoResultFound, UnsupportedDatabase
from servers import PostgreSQL

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    yield database
    await database.aclose()


async def add_user(conn: AsyncConnection, handle: str) -> None:
    await conn.execute(insert(user).values(uid=handle.zfill(20), handle=handle, created_at=NOW, updated_at=NOW))


async def count(database: Database) -> int:
    async with database.read() as conn:
        return (await conn.execute(select(func.count()).select_from(user))).scalar_one()


# --- addresses


@pytest.mark.parametrize(
    "address", ["sqlite:////data/r.db", "sqlite+aiosqlite:////data/r.db", "sqlite+pysqlite:////data/r.db"]
)
def test_every_form_of_an_sqlite_address_is_read(address: str) -> None:
    database = Database(address)
    assert (database.dialect, database.path) == ("sqlite", Path("/data/r.db"))


def test_a_relative_path_stays_where_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database("sqlite:///r.db")
    monkeypatch.chdir("/")
    assert database.path == tmp_path / "r.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_postgresql_addresses_never_show_their_secrets(scheme: str) -> None:
    database = Database(f"{scheme}://ann:s3cret@db.example/lab?password=s3cret")
    assert (database.dialect, database.path) == ("postgresql", None)
    assert repr(database) == "Database('postgresql://ann:***@db.example/lab')"
    assert "s3cret" not in str(database)


@pytest.mark.parametrize(
    "address",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///r.db?mode=ro&password=s3cret",
        "sqlite://r.db",
        "mysql://ann:s3cret@host/lab",
        "postgresql://ann:s3cret@host:port/lab",
        "/data/s3cret.db",
        "",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UnsupportedDatabase) as caught:
        Database(address)
    assert "s3cret" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedDatabase, match=r'pip install "inhaul\[postgres\]"') as caught:
        Database("postgresql://ann:s3cret@db.example/lab")
    assert "s3cret" not in str(caught.value)


def test_an_old_sqlite_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 37, 2))
    with pytest.raises(UnsupportedDatabase, match=r"needs 3\.38"):
        Database("sqlite:///r.db")


async def test_the_option_sslmode_of_other_clients_is_accepted(postgresql_server: PostgreSQL) -> None:
    with postgresql_server.database() as url:
        database = Database(f"{url}&sslmode=disable")
        await database.prepare()
        await database.aclose()


# --- transactions


async def test_reading_before_the_first_write_finds_nothing_and_creates_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'registry.db'}")
    assert await count(database) == 0
    await database.aclose()
    assert list(tmp_path.iterdir()) == []


async def test_a_write_is_kept(database: Database) -> None:
    async with database.write() as conn:
        await add_user(conn, "ann")
    assert await count(database) == 1
    await database.aclose()
    assert await count(database) == 1


async def test_a_write_that_raises_is_rolled_back(database: Database) -> None:
    await database.prepare()
    with pytest.raises(ZeroDivisionError):
        async with database.write() as conn:
            await add_user(conn, "ann")
            raise ZeroDivisionError
    assert await count(database) == 0


async def test_a_read_keeps_nothing(database: Database) -> None:
    await database.prepare()
    # A read on PostgreSQL may be no transaction, so the statement is refused.
    with nullcontext() if database.path else pytest.raises(TypeError, match="may not write"):
        async with database.read() as conn:
            await add_user(conn, "ann")
    assert await count(database) == 0


async def test_constraint_errors_reach_the_caller(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as conn:
            await add_user(conn, "ann")
            await add_user(conn, "ann")
    assert await count(database) == 0


async def test_a_row_that_refers_to_a_deleted_record_is_refused(database: Database) -> None:
    with pytest.raises(NoResultFound, match="a record that this one refers to has been deleted"):
        async with database.write() as conn:
            await conn.execute(text("INSERT INTO artifact_input_of (artifact_id, run_id) VALUES (1, 1)"))


async def test_a_reader_sees_one_state_while_others_write(sqlite: Database) -> None:
    await sqlite.prepare()
    async with sqlite.read() as conn:
        before = (await conn.execute(select(user.c.handle))).all()
        async with sqlite.write() as other:
            await add_user(other, "ann")
        assert (await conn.execute(select(user.c.handle))).all() == before == []
    assert await count(sqlite) == 1


async def test_writers_of_one_loop_take_turns(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.write() as conn:
            await add_user(conn, str(number))

    async with asyncio.TaskGroup() as tasks:
        for number in range(50):
            tasks.create_task(write(number))
    assert await count(database) == 50


async def test_writing_to_sqlite_keeps_the_settings_that_speed_needs(sqlite: Database) -> None:
    async with sqlite.write() as conn:
        settings = {
            name: (await conn.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in (
                "journal_mode",
                "synchronous",
                "foreign_keys",
                "cache_size",
                "wal_autocheckpoint",
                "temp_store",
                "busy_timeout",
            )
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "cache_size": -65536,
        "wal_autocheckpoint": 16384,
        "temp_store": 2,
        "busy_timeout": 30_000,
    }


async def test_a_registry_deleted_while_in_use_is_made_again(sqlite: Database, tmp_path: Path) -> None:
    async with sqlite.write() as conn:
        await add_user(conn, "ann")
    for file in tmp_path.glob("registry.db*"):
        file.unlink()
    assert await count(sqlite) == 0
    async with sqlite.write() as conn:
        await add_user(conn, "bob")
    with closing(sqlite3.connect(tmp_path / "registry.db")) as registry:
        assert registry.execute("SELECT handle FROM user").fetchall() == [("bob",)]


def test_each_loop_has_connections_of_its_own(database_url: str) -> None:
    database = Database(database_url)

    async def write(handle: str) -> None:
        async with database.write() as conn:
            await add_user(conn, handle)

    for handle in ("ann", "bob"):
        asyncio.run(write(handle))
    assert asyncio.run(count(database)) == 2


# --- errors


async def test_a_file_that_is_no_database_is_refused(sqlite: Database, tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"key,value\n" * 1000)
    running = set(threading.enumerate())
    for use in (sqlite.read, sqlite.write):
        with pytest.raises(UnsupportedDatabase, match=r"registry\.db is not an SQLite database"):
            async with use():
                pass
    # A thread that reports its end to a closed loop prints a traceback.
    assert not [one for one in threading.enumerate() if one not in running and not one.name.startswith("asyncio_")]


async def test_a_folder_in_the_place_of_the_database_is_refused(sqlite: Database, tmp_path: Path) -> None:
    (tmp_path / "registry.db").mkdir()
    with pytest.raises(UnsupportedDatabase, match=r"registry\.db is a folder"):
        await sqlite.prepare()


def test_a_file_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """The program runs as another user, because root may write everything."""
    script = """
import sys
import inhaul.sync as ih
from inhaul.errors import DatabaseDenied
try:
    ih.connect("data", db=f"sqlite:///{sys.argv[1]}")
    ih.ULabel("a").save()
except DatabaseDenied as error:
    print(error.filename)
"""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        file = Path(name, "registry.db")
        database = sqlite3.connect(file)
        database.execute("PRAGMA journal_mode = WAL")
        database.close()
        for mode in (0o444, 0o000):
            file.chmod(mode)
            ran = children.run(script, str(file), wrapper=("env", "-C", name, *children.NOBODY))
            assert ran.stdout.strip() == str(file), ran.stderr


@pytest.mark.parametrize("content", [b"7", b"no database", b"x" * 5000])
async def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "answer.txt"
    file.write_bytes(content)
    database = Database(f"sqlite:///{file}")
    for use in (database.read, database.write):
        with pytest.raises(UnsupportedDatabase, match=r"answer\.txt is not an SQLite database"):
            async with use():
                pass
    await database.aclose()
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["answer.txt"]


async def test_a_server_that_does_not_answer_is_named_without_secrets() -> None:
    database = Database("postgresql://ann:s3cret@127.0.0.1:1/lab")
    for use in (database.read, database.write):
        with pytest.raises(DatabaseUnreachable, match=r"127.0.0.1:1/lab.*check that the server runs") as caught:
            async with use():
                pass
        assert isinstance(caught.value, ConnectionError)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_a_refusal_of_the_server_says_what_to_correct(postgresql_server: PostgreSQL) -> None:
    with postgresql_server.database() as url:
        parts = urlsplit(url)
        with pytest.raises(DatabaseUnreachable, match="create it"):
            await Database(parts._replace(path="/none").geturl()).prepare()
        async with Database(url).write() as conn:
            await conn.execute(text("CREATE ROLE locked NOLOGIN"))
        try:
            stranger = parts.netloc.replace("postgres:", "locked:", 1)
            with pytest.raises(DatabaseUnreachable, match="correct the user name"):
                await Database(parts._replace(netloc=stranger).geturl()).prepare()
        finally:
            async with Database(url).write() as conn:
                await conn.execute(text("DROP ROLE locked"))


async def test_after_a_lost_connection_the_next_call_connects_again(postgresql_server: PostgreSQL) -> None:
    with postgresql_server.database() as url:
        database = Database(url)
        with pytest.raises(DatabaseUnreachable, match=r"the server ended the connection .*administrator command"):
            async with database.write() as conn:
                await conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        async with database.read() as conn:  # and the next one connects anew
            assert (await conn.execute(text("SELECT 1"))).scalar() == 1
        await database.aclose()


async def test_a_database_that_stays_locked_is_an_error(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.prepare()
    monkeypatch.setattr(sqlite_files, "_PATIENCE", 0.2)
    other = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusy, match=r"registry\.db was locked"):
        async with sqlite.write():
            pass
    other.execute("ROLLBACK")
    async with sqlite.write() as conn:
        await add_user(conn, "ann")
    other.close()


async def test_waiting_for_another_process_can_be_cancelled(sqlite: Database, tmp_path: Path) -> None:
    await sqlite.prepare()
    other = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), sqlite.write():
            pass
    assert time.monotonic() - started < 1
    other.execute("ROLLBACK")
    other.close()


FULL = """
import asyncio, subprocess, sys
from pathlib import Path
from sqlalchemy import text
from inhaul.db.engine import Database
from inhaul.errors import StorageFull

folder = Path(sys.argv[1])
file = folder / "registry.db"
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)

def leave_no_room():
    with (folder / "blocker").open("wb", buffering=0) as blocker:
        try:
            while blocker.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == 28, error

async def expect_full(job):
    try:
        await job
    except StorageFull as error:
        assert error.errno == 28 and error.filename == str(file), error
    else:
        raise AssertionError("it fitted")

async def fill(database):
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE filler (content BLOB)"))
        for _ in range(20):
            await conn.execute(text("INSERT INTO filler VALUES (randomblob(100000))"))

async def names(database):
    async with database.read() as conn:
        return {name for name, in await conn.execute(text("SELECT name FROM sqlite_master"))}

async def main():
    database = Database(f"sqlite:///{file}")
    leave_no_room()
    await expect_full(database.prepare())
    (folder / "blocker").unlink()
    await database.prepare()
    await database.aclose()
    leave_no_room()
    await expect_full(names(database))  # a read needs room, too: for what the processes share
    (folder / "blocker").unlink()
    await expect_full(fill(database))
    assert "filler" not in await names(database)
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE small (x)"))
    assert {"small", "artifact"} <= await names(database)

asyncio.run(main())
"""


def test_a_full_disk_is_named_and_the_next_write_works(tmp_path: Path) -> None:
    # With its own namespace of mounts, the small disk disappears with the process.
    done = children.run(FULL, str(tmp_path), wrapper=("unshare", "--mount", "--map-root-user"))
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(("magic", "name"), [(0x6969, "NFS"), (0x0BD00BD0, "Lustre"), (-11317950, "CIFS")])
async def test_a_network_file_system_gets_no_wal(
    magic: int, name: str, sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inhaul.filesystem._core.filesystem_magic", lambda path: magic)
    with pytest.warns(NetworkFilesystemWarning, match=rf"is on {name}.*use PostgreSQL"):
        await sqlite.prepare()
    async with sqlite.write() as conn:
        await add_user(conn, "ann")
        assert (await conn.execute(text("PRAGMA journal_mode"))).scalar_one() == "delete"


# --- cancelling, forgetting, competing


def held() -> tuple[int, int]:
    """The threads and descriptors of this process, without the threads that the loop keeps for `to_thread`."""
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
    return len(threads), len(list(Path("/proc/self/fd").iterdir()))


async def test_cancelling_at_any_moment_leaves_nothing_behind(database: Database) -> None:
    async def work(number: int) -> None:
        async with database.write() as conn:
            await add_user(conn, f"{number}-a")
            await conn.execute(select(user))
            await add_user(conn, f"{number}-b")
        async with database.read() as conn:
            await conn.execute(select(user))

    before = held()
    await work(0)
    started = time.monotonic()
    await work(1)
    duration = time.monotonic() - started
    generator = random.Random(2)
    finished = 2
    for number in range(2, 202):
        task = asyncio.create_task(work(number))
        await asyncio.sleep(generator.uniform(0, 2 * duration))
        task.cancel()
        finished += (await asyncio.gather(task, return_exceptions=True)) == [None]
        if number % 20 == 0:
            await database.aclose()  # so that opening is interrupted, too
    await database.aclose()
    assert len(asyncio.all_tasks()) == 1
    async with asyncio.timeout(2):
        while held() != before:
            await asyncio.sleep(0.01)
    rows = await count(database)
    assert rows % 2 == 0
    assert rows >= 2 * finished
    assert 2 < finished < 202, "the delays do not hit the work"


async def test_cancelling_twice_is_quiet(sqlite: Database, caplog: pytest.LogCaptureFixture) -> None:
    async def work(number: int) -> None:
        async with sqlite.write() as conn:
            await add_user(conn, f"{number}-a")
            await conn.execute(select(user))

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await work(-1)
    generator = random.Random(3)
    for number in range(150):
        task = asyncio.create_task(work(number))
        await asyncio.sleep(generator.uniform(0, 0.004))
        task.cancel()
        for _ in range(generator.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert complaints == []
    assert [record.message for record in caplog.records if "connection" in record.message] == []


async def test_a_cancelled_statement_ends_at_once(sqlite: Database) -> None:
    await sqlite.prepare()
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), sqlite.write() as conn:
            await conn.execute(endless)
    assert time.monotonic() - started < 1
    async with sqlite.write() as conn:
        await add_user(conn, "ann")


FORGETFUL = """
import asyncio, sys, time
from sqlalchemy import text
from inhaul.db.engine import Database

url, how = sys.argv[1:]
endless = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(3600)",
}

async def write(database, statement="CREATE TABLE mine (x INTEGER)", error=None):
    async with database.write() as conn:
        await conn.execute(text(statement))
        if error:
            print(time.time(), flush=True)
            raise error

async def main():
    database = Database(url)
    if how == "never closed":
        await write(database)
    elif how == "error escapes":
        await write(database, error=ZeroDivisionError("escapes"))
    elif how == "in a statement":
        asyncio.create_task(write(database, endless[database.dialect]))
        await asyncio.sleep(0.5)
    print(time.time(), flush=True)

if how == "loop dropped":
    database = Database(url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(database.prepare())
    task = loop.create_task(write(database, endless[database.dialect]))
    loop.run_until_complete(asyncio.sleep(0.5))
    print(time.time(), flush=True)
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["never closed", "error escapes", "in a statement", "loop dropped"])
def test_a_script_that_closes_nothing_ends_at_once(how: str, database_url: str) -> None:
    done = children.run(FORGETFUL, database_url, how)
    assert time.time() - float(done.stdout) < 4  # seconds; a script that waits for its statement takes an hour
    if how == "error escapes":
        assert done.stderr.splitlines()[-1] == "ZeroDivisionError: escapes"
    else:
        assert done.stderr == ""


WRITER = """
import asyncio, json, os, sys, time
from sqlalchemy import text
from inhaul.db.engine import Database

ROWS, BATCH = 10_000, 250
statement = text(
    "INSERT INTO user (uid, handle, created_at, updated_at)"
    " SELECT printf('%010d%010d', :pid, value), :pid || '/' || value, :now, :now FROM json_each(:numbers)"
)

async def main():
    database = Database(sys.argv[1])
    waits = []
    print("ready", flush=True)
    input()
    for first in range(0, ROWS, BATCH):
        numbers = json.dumps(list(range(first, first + BATCH)))
        started = time.monotonic()
        async with database.write() as conn:
            waits.append(time.monotonic() - started)
            await conn.execute(statement, {"pid": os.getpid(), "numbers": numbers, "now": "2026-01-02"})
    print(max(waits))

asyncio.run(main())
"""


def test_eight_processes_write_to_one_sqlite_file_without_long_waits(tmp_path: Path) -> None:
    waits = children.race(WRITER, f"sqlite:///{tmp_path / 'registry.db'}")
    assert max(map(float, waits)) < 5
    with sqlite3.connect(tmp_path / "registry.db") as database:
        assert database.execute("SELECT count(*) FROM user").fetchone() == (80_000,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
