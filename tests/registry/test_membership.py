"""Lists of any length, wherever a caller gives one."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, select, text

import inhaul
from inhaul import Artifact, Feature, ULabel
from inhaul.db.engine import Database
from inhaul.db.membership import is_in
from inhaul.db.tables import ulabel, user

MANY = 270_000  # more than SQLite takes as parameters
SOME = 40_000  # more than PostgreSQL does
NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


async def artifact(tmp_path: Path) -> Artifact:
    (tmp_path / "a.txt").write_text("a")
    return await Artifact(tmp_path / "a.txt", key="a.txt").save()


async def test_lookups_take_lists_of_any_length(instance: inhaul.Instance, tmp_path: Path) -> None:
    saved = await artifact(tmp_path)
    assert await Artifact.filter(uid__in=[*map(str, range(MANY)), saved.uid]).one() == saved
    assert await Artifact.filter(size__in=[*range(2, SOME), 1]).one() == saved
    assert await Artifact.filter(created_at__in=[*[NOW] * SOME, saved.created_at]).one() == saved
    assert await Artifact.filter(created_by__handle__in=[saved.created_by.handle] * SOME).one() == saved
    assert await Artifact.filter(created_by__in=[saved.created_by] * SOME).one() == saved
    assert await Artifact.filter(uid__in=[f"{saved.uid}longer than the column"]).all() == []


async def test_lookups_of_feature_values_take_lists_of_any_length(instance: inhaul.Instance, tmp_path: Path) -> None:
    saved = await artifact(tmp_path)
    await inhaul.save([Feature("well", dtype="str"), Feature("dose", dtype="float")])
    await saved.features.add_values({"well": "B2", "dose": 0.1 + 0.2})
    assert await Artifact.features.filter(well__in=[*map(str, range(SOME)), "B2"]).one() == saved
    assert await Artifact.features.filter(dose__in=[*range(SOME), 0.1 + 0.2]).one() == saved
    assert await Artifact.features.filter(dose__in=[0.3]).all() == []


async def test_labels_are_made_linked_found_and_unlinked_by_the_ten_thousands(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    saved = await artifact(tmp_path)
    names = [f"label {number}" for number in range(SOME)]
    row = {"created_at": NOW, "updated_at": NOW, "created_by_id": (await instance.identity()).user_id}
    async with instance.database.write() as conn:
        await conn.execute(insert(ulabel), [row | {"uid": f"{i:020}", "name": name} for i, name in enumerate(names)])
    labels = await ULabel.from_values(names)
    assert all(label.id is not None for label in labels)
    await saved.labels.add(labels)
    assert await Artifact.filter(ulabels__in=labels).one() == saved
    await saved.ulabels.remove(*labels)
    assert await saved.ulabels.all() == []


def test_a_condition_is_the_same_for_any_number() -> None:
    """So its statement is compiled and prepared once."""
    one, two = (select(user).where(is_in(user.c.uid, values)) for values in (["a"], ["a", "b"]))
    assert one._generate_cache_key() == two._generate_cache_key()


async def test_sqlite_uses_the_index_of_the_column(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    await database.prepare()
    async with database.read() as conn:
        query = select(user).where(is_in(user.c.uid, ["a"]))
        sql = str(query.compile(dialect=conn.dialect)).replace("?", ":values")
        plan = await conn.execute(text(f"EXPLAIN QUERY PLAN {sql}"), {"values": '["a"]'})
        assert next(iter(plan)).detail.startswith("SEARCH user USING INDEX")
    await database.aclose()
