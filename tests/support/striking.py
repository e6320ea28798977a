"""Faults at one await of a call: a cancellation, or a broken database."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from inhaul import Instance

BROKEN = {
    "sqlite": ["PRAGMA defer_foreign_keys = ON", "INSERT INTO ulabel_parent (child_id, parent_id) VALUES (-1, -1)"],
    "postgresql": [
        "CREATE TEMPORARY TABLE broken (id int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP",
        "INSERT INTO broken VALUES (1), (1)",
    ],
}
"""Statements that make the COMMIT of their transaction fail."""


class Struck:
    """A call with a fault at its n-th await; `is_struck` is True if the call got so far."""

    def __init__(self, call: Coroutine[Any, Any, Any], step: int, strike: Callable[[], object]) -> None:
        self._call = call
        self._step = step
        self._strike = strike
        self.is_struck = False

    def __await__(self) -> Generator[Any, Any, Any]:
        running, error, taken = self._call.__await__(), None, 0
        while True:
            try:
                waiting = running.send(None) if error is None else running.throw(error)
            except StopIteration as stop:
                return stop.value
            taken += 1
            if taken == self._step:
                self.is_struck = True
                self._strike()
            error = None
            try:
                yield waiting
            except BaseException as raised:
                error = raised

    async def outcome(self) -> BaseException | None:
        """Makes the call in a task of its own. Returns the error that it ends with, also if it is cancelled."""

        async def run() -> None:
            await self

        task = asyncio.create_task(run())
        await asyncio.wait([task])
        return asyncio.CancelledError() if task.cancelled() else task.exception()


def cancel() -> None:
    """Cancels the running task at its next await."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


class Breaker:
    """Faults in the connections of an instance on this loop."""

    def __init__(self, engine: AsyncEngine, dialect: str) -> None:
        self._engine: Engine = engine.sync_engine
        self._dialect = dialect
        self._connections: list[Any] = []
        self._until_statement: int | None = None
        self.is_struck = False
        event.listen(self._engine, "checkout", self._used)
        event.listen(self._engine, "before_cursor_execute", self._before, retval=True)
        event.listen(self._engine, "commit", self._committing)
        self._until_commit = 0
        self._way = ""

    def _used(self, connection: Any, record: object, used_by: object) -> None:
        if connection not in self._connections:
            self._connections.append(connection)

    def cut(self) -> None:
        """Cuts all connections; with SQLite, interrupts the running statement."""
        for one in self._connections:
            driver = one.driver_connection
            if self._dialect == "sqlite" and driver._connection is not None:
                driver._connection.interrupt()
            elif self._dialect == "postgresql" and driver._transport is not None:
                driver._transport.abort()

    def break_statement(self, number: int) -> None:
        """Makes the n-th statement from now on fail."""
        self._until_statement, self.is_struck = number, False

    def fail_commit(self, number: int, way: str) -> None:
        """Makes the n-th COMMIT from now on fail.

        Args:
            number: Which one.
            way: `"refused"`, by the database; or the connection is lost before it is sent, `"cut before"`, or when it
                just was, `"cut after"`.
        """
        self._until_commit, self._way, self.is_struck = number, way, False

    def _before(
        self, conn: Connection, cursor: object, statement: str, parameters: Any, context: object, many: bool
    ) -> tuple[str, Any]:
        if self._until_statement is not None:
            self._until_statement -= 1
            if self._until_statement == 0:
                self._until_statement, self.is_struck = None, True
                return ("SELECT json('{')" if self._dialect == "sqlite" else "SELECT 1 / 0"), [()] if many else ()
        return statement, parameters

    def _committing(self, conn: Connection) -> None:
        self._until_commit -= 1
        if self._until_commit != 0:
            return
        self.is_struck = True
        if self._way == "refused":
            self._violate(conn)
            return
        driver: Any = conn.connection.driver_connection
        if self._way == "cut after":
            asyncio.get_running_loop().call_soon(driver._transport.abort)
        else:
            driver._transport.abort()

    def _violate(self, conn: Connection) -> None:
        cursor = conn.connection.cursor()
        for statement in BROKEN[self._dialect]:
            cursor.execute(statement)
        cursor.close()


async def breaker(instance: Instance) -> Breaker:
    """Yields faults for the connections that an instance uses on this loop from now on."""
    opened = await instance.database._open(await instance.database._of_loop())
    return Breaker(opened.engine, instance.database.dialect)
