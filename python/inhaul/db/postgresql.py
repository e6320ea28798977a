"""Connections to PostgreSQL servers. The reasons are in `docs/design/0002-database.md`."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from inhaul.db.libpq import SYSTEM, Server
from inhaul.errors import UnsupportedDatabase

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

# A pooler may give the next transaction to another server process, which does not have the prepared statements.
_PREPARE_NOTHING = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}


async def engine(server: Server) -> AsyncEngine:
    """Connects to the database to check it, and returns an engine.

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

    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": connect, **(_PREPARE_NOTHING if pooled else {})},
        pool_size=4,
        pool_pre_ping=True,
    )


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
    async with connection.transaction():
        statement = await connection.prepare("SELECT pg_backend_pid()", name="")
        return bool(await statement.fetchval() != connection.get_server_pid())


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
