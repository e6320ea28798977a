"""Annotations of the files of a manifest, written in the transaction that writes their rows."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import annotations, bulk
from inhaul.db.annotations import LabelLink, ValueLink
from inhaul.db.tables import TRASH, artifact
from inhaul.ingestion.path_list import Annotation
from inhaul.ingestion.report import Status
from inhaul.ingestion.scan import Batch


async def write(
    conn: AsyncConnection,
    storage_id: int,
    batch: Batch,
    ids: Sequence[int] | None,
    pending: dict[str, Annotation],
    now: datetime,
) -> None:
    """Writes the annotations of the files of a batch, whose rows are in the registry, and removes them from `pending`.

    Args:
        conn: A connection in a transaction.
        storage_id: The storage of new rows.
        batch: The batch.
        ids: The ids of its new rows, in order; None if another writer inserted some of them.
        pending: Annotations by key.
        now: The time of the change.
    """
    known, others = await asyncio.to_thread(_annotated, batch, ids, pending)
    if others:
        found = await bulk.lookup(conn, storage_id, json.dumps(others))
        known |= {others[place]: _described(record) for place, *_, visibility, record in found if visibility != TRASH}
    links = [(id, description, pending.pop(key)) for key, (id, description) in known.items()]
    described = sorted((id, own.description) for id, before, own in links if own.description not in (None, before))
    if described:
        edit = update(artifact).where(artifact.c.id == bindparam("own_id"))
        rows = [{"own_id": id, "text": text} for id, text in described]
        await conn.execute(edit.values(description=bindparam("text"), updated_at=now), rows)
    values = {(row.feature_id, row.value): row for _, _, own in links for row in own.values}
    if values:
        valued = [ValueLink(id, row.feature_id, row.value) for id, _, own in links for row in own.values]
        await annotations.add_values(conn, values.values(), valued, now)
    if labelled := [LabelLink(id, *label) for id, _, own in links for label in own.labels]:
        await annotations.add_labels(conn, labelled)


def _annotated(
    batch: Batch, ids: Sequence[int] | None, pending: Mapping[str, Annotation]
) -> tuple[dict[str, tuple[int, str | None]], list[str]]:
    """Returns the id and the description by key of files whose rows are known, and the keys of the others."""
    known, others = dict[str, tuple[int, str | None]](), list[str]()
    new = iter(ids or ())
    for place in range(len(batch)):
        _, key, status, *_, record, _ = batch.row(place)
        id = next(new, None) if status != Status.UNCHANGED else None
        if key not in pending:
            continue
        if status == Status.UNCHANGED and record is not None:
            known[key] = _described(record)
        elif id is not None:
            known[key] = id, None
        else:
            others.append(key)
    return known, others


def _described(record: str) -> tuple[int, str | None]:
    """Returns the id and the description in the JSON text of a row."""
    row = dict(zip(artifact.c.keys(), json.loads(record), strict=True))
    return row["id"], row["description"]
