"""Links between runs and artifacts: inputs, and `previous_runs` of runs that made the same content again.

An artifact that a run made, or made again, is not an input of that run.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Executable, bindparam, delete, exists, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.bulk import insert_into, strings
from inhaul.db.membership import is_in
from inhaul.db.tables import artifact, artifact_input_of, artifact_previous_run, run

_used, _again = artifact_input_of, artifact_previous_run


async def link_inputs(conn: AsyncConnection, artifact_ids: Iterable[int], run_id: int) -> None:
    """Makes artifacts inputs of a run, except those that the run made or made again, and deleted ones."""
    one = literal(run_id, artifact.c.run_id.type)
    used = select(artifact.c.id, one).where(
        is_in(artifact.c.id, artifact_ids), exists().where(run.c.id == one), ~_is_made_by(artifact.c.id, one)
    )
    insert = insert_into(_used, conn.dialect.name).from_select(["artifact_id", "run_id"], used)
    await conn.execute(insert.on_conflict_do_nothing())


async def link_previous_run(conn: AsyncConnection, uids_json: str, run_id: int) -> None:
    """Adds a run to the `previous_runs` of artifacts that it made again but did not create."""
    await conn.execute(_link_run(conn.dialect.name), {"json": uids_json, "run_id": run_id})
    await unlink_inputs(conn, run_id)


async def hand_over(conn: AsyncConnection, artifact_id: int, run_id: int) -> None:
    """Adds the run of an artifact to its `previous_runs`, before another run replaces it."""
    made = select(artifact.c.id, artifact.c.run_id).where(
        artifact.c.id == artifact_id, artifact.c.run_id.is_not(None), artifact.c.run_id != run_id
    )
    insert = insert_into(_again, conn.dialect.name).from_select(["artifact_id", "run_id"], made)
    await conn.execute(insert.on_conflict_do_nothing())
    await conn.execute(delete(_again).where(_again.c.artifact_id == artifact_id, _again.c.run_id == run_id))


async def unlink_inputs(conn: AsyncConnection, run_id: int) -> None:
    """Removes from the inputs of a run the artifacts that it has made, or made again, since it used them."""
    made = _is_made_by(_used.c.artifact_id, _used.c.run_id)
    await conn.execute(delete(_used).where(_used.c.run_id == run_id, made))


def _is_made_by(artifact_id: Any, run_id: Any) -> ColumnElement[bool]:
    made = artifact.alias()
    return or_(
        exists().where(made.c.id == artifact_id, made.c.run_id == run_id),
        exists().where(_again.c.artifact_id == artifact_id, _again.c.run_id == run_id),
    )


@cache
def _link_run(dialect: str) -> Executable:
    run_id = bindparam("run_id", type_=artifact.c.run_id.type)
    met = select(artifact.c.id, run_id).where(
        artifact.c.uid.in_(strings(dialect)), artifact.c.run_id.is_distinct_from(run_id)
    )
    return insert_into(_again, dialect).from_select(["artifact_id", "run_id"], met).on_conflict_do_nothing()
