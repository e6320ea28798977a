"""Connections to PostgreSQL servers. The reasons are in `docs/design/0002-database.md`."""

import asyncio
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import UpdateBase, event, func, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from inhaul.db.libpq import SYSTEM, Server
from inhaul.errors import UnsupportedDatabase

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy.pool import ConnectionPoolEntry

    Connection = asyncpg.Connection[asyncpg.Record]

# A pooler may give the next transaction to another server process, which does not have the prepared statements.
_PREPARE_NOTHING = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}

_IDLE = 30.0  # seconds; firewalls and poolers end only connections that are unused for minutes


async def engines(server: Server) -> tuple[AsyncEngine, AsyncEngine]:
    """Connects to the database to check it, and returns an engine, and one for reading with the same connections.

    Without a pooler, a read is no transaction, so no round trip begins or ends it. In a transaction, too, PostgreSQL
    shows each statement the rows that are committed by then. A pooler needs the transaction: without one, it may run
    the two steps of a statement in two processes.

    Raises:
        UnsupportedDatabase: The encoding of the database is not UTF-8.
    """
    first = await _connect(server)
    try:
        encoding = first.get_settings().server_encoding
        if encoding != "UTF8":
            raise UnsupportedDatabase(
                f"{server} has the encoding {encoding}, which lacks characters: "
                "make a database with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        pooled = await _is_pooled(first)
    except BaseException:
        first.terminate()
        raise
    spare = [first]
    if pooled:
        spare.clear()
        first.terminate()

    async def connect() -> "Connection":
        return spare.pop() if spare else await _connect(server, **({"statement_cache_size": 0} if pooled else {}))

    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": connect, **(_PREPARE_NOTHING if pooled else {})},
        pool_size=4,
        pool_use_lifo=True,  # the connection used last has prepared most statements
    )
    _check_idle(engine)
    reading = engine.execution_options(**({} if pooled else {"isolation_level": "AUTOCOMMIT"}))
    event.listen(reading.sync_engine, "before_execute", _refuse_write)
    return engine, reading


def _refuse_write(conn: object, statement: object, *others: object) -> None:
    """Raises for a statement that would write: what a read writes might be committed."""
    if isinstance(statement, UpdateBase):
        raise TypeError("A read may not write")


def _check_idle(engine: AsyncEngine) -> None:
    """Makes the pool replace a lost connection, and ask the server only if a connection was unused for long."""
    pool, dialect = engine.sync_engine.pool, engine.dialect

    def note(dbapi_connection: Any, record: "ConnectionPoolEntry") -> None:
        record.info["used"] = monotonic()

    def check(dbapi_connection: Any, record: "ConnectionPoolEntry", proxy: object) -> None:
        if (driver := record.driver_connection) is None or driver.is_closed():
            raise DisconnectionError
        if monotonic() - record.info.get("used", monotonic()) > _IDLE:
            try:
                dialect.do_ping(dbapi_connection)
            except dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error

    event.listen(pool, "checkin", note)
    event.listen(pool, "checkout", check)


async def _connect(server: Server, **options: Any) -> "Connection":
    import asyncpg

    arguments = server.arguments | options
    if arguments.get("ssl") == SYSTEM:
        arguments["ssl"] = await asyncio.to_thread(ssl.create_default_context)
    return await asyncpg.connect(**arguments)


async def _is_pooled(connection: "Connection") -> bool:
    """Returns True if a pooler such as PgBouncer is between this process and the server.

    Then the server process that runs a statement has another id than the one that the connection reported.
    """
    # One round trip, as it prepares nothing. It returns only the number of rows.
    return await connection.execute(f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid()}") == "SELECT 0"


async def denied(conn: AsyncConnection, *, has_tables: bool) -> str | None:
    """Returns the reason why this role may not write to a database; None if it may.

    Args:
        conn: A connection to the database.
        has_tables: Whether the tables of the registry exist; otherwise they would have to be created.
    """
    has_right = (
        func.has_table_privilege("artifact", "INSERT")
        if has_tables
        else func.has_schema_privilege(func.current_schema(), "CREATE")
    )
    asked = (func.current_setting("transaction_read_only"), func.pg_is_in_recovery(), func.current_user())
    query = select(*asked, func.current_schema(), has_right)
    read_only, is_standby, role, schema, may_write = (await conn.execute(query)).one()
    if is_standby:
        return "this server is a read-only standby: write to its primary"
    if read_only == "on":
        return "this role may only read (default_transaction_read_only): write as another role"
    if may_write or schema is None:  # the server has an error of its own for a missing schema
        return None
    right = f"INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}" if has_tables else f"CREATE ON SCHEMA {schema}"
    return f"the role {role} may not write here: GRANT {right} TO {role}"
