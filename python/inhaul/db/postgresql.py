"""Connections to PostgreSQL servers. Why it is so: `docs/design/0002-database.md`."""

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

# A pooler gives the next transaction to another process of the server, which does not know what this one prepared.
_PREPARE_NOTHING = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}


async def engine(server: Server) -> AsyncEngine:
    """An engine for the database, which is connected with to see what it is.

    Raises:
        UnsupportedDatabase: It does not keep texts as UTF-8.
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
    """Returns True if something between here and the server hands its connections round, as PgBouncer does.

    The process that serves a statement is then another one than that which the connection was said to have.
    """
    async with connection.transaction():
        statement = await connection.prepare("SELECT pg_backend_pid()", name="")
        return bool(await statement.fetchval() != connection.get_server_pid())


async def denied(conn: AsyncConnection, *, has_tables: bool) -> str | None:
    """Why nothing may be written to a database; None where it may.

    Args:
        conn: A connection to it.
        has_tables: Whether the registry's tables are there; otherwise they would have to be made.
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
