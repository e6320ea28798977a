"""Those who may only read a registry: a folder of another user, a read-only mount."""

import json
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text

import children
import inhaul
from commands import COMMAND
from inhaul import Artifact, Collection, Feature, ULabel
from inhaul.db.engine import Database
from inhaul.errors import DatabaseBusy, DatabaseDenied, SchemaTooNew, UnsupportedDatabase

READ = """
import asyncio, json, sys
from pathlib import Path
import inhaul
from inhaul import Artifact, Collection, ULabel

async def main():
    inhaul.connect(sys.argv[1])
    artifact = await Artifact.get(sys.argv[2])
    table = await Artifact.filter(key="t.parquet").one()
    print(json.dumps({
        "filter": [one.key for one in await Artifact.filter(ulabels__name="lung").all()],
        "df": len(await Artifact.filter().df()),
        "async for": sorted([one.key async for one in Artifact.filter()]),
        "load": await artifact.load(),
        "cache": (await artifact.cache()).read_text(),
        "backed": (await table.backed()).count_rows(),
        "describe": "a.txt" in str(await artifact.describe()),
        "features": await artifact.features.get_values(),
        "collection": len(await (await Collection.filter().one()).artifacts.all()),
        "search": len(await Artifact.search("a").all()),
        "from_values": [one.id is None for one in await ULabel.from_values(["lung", "new"])],
        "verify": (await inhaul.verify()).checked,
        "verify(read)": (await inhaul.verify(read=True)).checked,
        "staged": (await Artifact(sys.argv[3], key="new.txt")).size,
        "staged folder": [one.id is None for one in await Artifact.from_dir(Path(sys.argv[3]).parent)],
    }))

asyncio.run(main())
"""

FOUND = {
    "filter": ["a.txt"],
    "df": 2,
    "async for": ["a.txt", "t.parquet"],
    "load": "a",
    "cache": "a",
    "backed": 3,
    "describe": True,
    "features": {"dose": 1},
    "collection": 1,
    "search": 2,
    "from_values": [False, True],
    "verify": 2,
    "verify(read)": 2,
    "staged": 3,
    "staged folder": [True],
}

WRITE = """
import asyncio, sys
from pathlib import Path
import inhaul
from inhaul import Artifact, Transform, ULabel
from inhaul.errors import DatabaseDenied

async def main():
    inhaul.connect(sys.argv[1])
    artifact, new = await Artifact.get(sys.argv[2]), sys.argv[3]
    other, label = await Artifact.filter(key="t.parquet").one(), await ULabel.filter().first()

    async def change():
        artifact.description = "new"
        await artifact.save()

    for name, write in {
        "save": lambda: Artifact(new, key="new.txt").save(),
        "save under its key": lambda: Artifact(new, key="new.txt", key_is_virtual=False).save(),
        "from_dir": lambda: Artifact.from_dir(Path(new).parent).save(),
        "ingest": lambda: inhaul.ingest(Path(new).parent),
        "replace": lambda: artifact.replace(new),
        "delete": other.delete,
        "delete for good": lambda: other.delete(permanent=True),
        "change": change,
        "label": lambda: ULabel("new").save(),
        "labels": lambda: artifact.labels.add([label]),
        "features": lambda: artifact.features.add_values({"dose": 2}),
        "track": lambda: inhaul.track(Transform("t")),
        "gc": lambda: inhaul.gc(delete=True),
        "repair": lambda: inhaul.verify(repair=True),
        "several": lambda: inhaul.save([ULabel("new")]),
    }.items():
        try:
            await write()
        except DatabaseDenied as error:
            assert "may only read" in str(error), error
        else:
            print(name, "did not fail")

asyncio.run(main())
"""


class Lab:
    """A folder with a registry that others may read."""

    def __init__(self, folder: Path) -> None:
        self.storage = folder / "storage"
        self.new = folder / "src" / "new.txt"
        self.uid = ""

    @property
    def registry(self) -> Path:
        return self.storage / ".inhaul" / "registry.db"

    async def fill(self) -> None:
        self.new.parent.mkdir()
        self.new.write_text("new")
        (self.new.parent.parent / "a.txt").write_text("a")
        async with inhaul.connect(self.storage):
            artifact = await Artifact(self.new.parent.parent / "a.txt", key="a.txt").save()
            await Artifact(pd.DataFrame({"x": [1, 2, 3]}), key="t.parquet").save()
            await inhaul.save([ULabel("lung"), Feature("dose", dtype="int")])
            await artifact.labels.add(await ULabel.filter().all())
            await artifact.features.add_values({"dose": 1})
            await Collection([artifact], name="c").save()
            self.uid = artifact.uid

    def files(self) -> set[tuple[Path, int, int]]:
        return {(path, (status := path.stat()).st_size, status.st_mtime_ns) for path in self.storage.rglob("*")}

    def run(self, script: str, *before: str) -> subprocess.CompletedProcess[str]:
        """Runs a program as a user who owns nothing."""
        environment = (f"INHAUL_CACHE_DIR={self.storage.parent}/none", "PYTHONDONTWRITEBYTECODE=1")
        wrapper = ("env", *environment, *(before or children.NOBODY))
        return children.run(script, str(self.storage), self.uid, str(self.new), wrapper=wrapper)

    def assert_reads(self, *before: str) -> None:
        ran = self.run(READ, *before)
        assert ran.stderr == ""
        assert json.loads(ran.stdout) == FOUND


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        lab = Lab(Path(name))
        await lab.fill()
        yield lab


async def test_a_registry_of_another_user_answers_and_is_left_as_it_is(lab: Lab) -> None:
    before = lab.files()
    lab.assert_reads()
    assert lab.files() == before


async def test_what_its_owner_is_writing_is_read(lab: Lab) -> None:
    """The log has changes that are not in the file yet."""
    owner = sqlite3.connect(lab.registry)
    owner.execute("UPDATE artifact SET description = 'fresh' WHERE key = 'a.txt'")
    owner.commit()
    assert lab.registry.with_name("registry.db-wal").stat().st_size > 0
    lab.assert_reads()
    ran = lab.run("""
import sys
import inhaul.sync as ih
ih.connect(sys.argv[1])
print(ih.Artifact.get(sys.argv[2]).description)
""")
    assert ran.stdout == "fresh\n", ran.stderr
    owner.close()


async def test_writing_is_denied_before_anything_is_stored(lab: Lab) -> None:
    before = lab.files()
    ran = lab.run(WRITE)
    assert (ran.stdout, ran.stderr) == ("", "")
    assert lab.files() == before


async def test_a_registry_on_a_read_only_mount_is_read(lab: Lab) -> None:
    """Even root may only read it."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    wrapper = ("unshare", "--mount", "--map-root-user", "sh", "-c", mount, str(lab.storage))
    lab.assert_reads(*wrapper)
    ran = lab.run(WRITE, *wrapper)
    assert (ran.stdout, ran.stderr) == ("", "")


async def test_commands_that_read_work_for_those_who_may_only_read(lab: Lab) -> None:
    for arguments, printed in ((["ls"], "a.txt"), (["show", lab.uid], "a.txt"), (["verify"], "checked")):
        environment = ["env", f"INHAUL_STORAGE={lab.storage}", f"INHAUL_CACHE_DIR={lab.storage.parent}/none"]
        done = subprocess.run(
            [*environment, *children.NOBODY, COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert printed in done.stdout + done.stderr


async def test_a_folder_that_may_not_be_looked_into_is_named(lab: Lab) -> None:
    lab.registry.parent.chmod(0o700)
    for script in (READ, WRITE):
        ran = lab.run(script)
        what = "[Errno 13] This user may not look into its folder: ask its owner for access, or name another file"
        assert ran.stderr.splitlines()[-1] == f"inhaul.errors.DatabaseDenied: {what}: '{lab.registry}'"


async def test_a_file_where_the_folder_of_a_registry_has_to_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path}/file/sub/registry.db")
    assert not await database.has_registry()
    with pytest.raises(UnsupportedDatabase, match="a file has the name of its folder"):
        await database.prepare()


async def test_a_registry_without_a_log_is_read(lab: Lab) -> None:
    """Registries on network file systems have none."""
    owner = sqlite3.connect(lab.registry)
    owner.execute("PRAGMA journal_mode = DELETE")
    owner.close()
    lab.assert_reads()


async def test_a_log_that_cannot_be_read_is_named(lab: Lab) -> None:
    """A copy that was made during a write can have such a log."""
    owner = sqlite3.connect(lab.registry)
    owner.execute("UPDATE artifact SET description = 'fresh'")
    owner.commit()
    copy = lab.storage.parent / "copy"
    copy.mkdir()
    for name in ("registry.db", "registry.db-wal"):
        shutil.copy(lab.registry.with_name(name), copy / name)
    owner.close()
    ran = lab.run(f"""
import asyncio
from inhaul.db.engine import Database
async def main():
    async with Database("sqlite:///{copy}/registry.db").read():
        pass
asyncio.run(main())
""")
    assert "DatabaseDenied" in ran.stderr
    assert "Its last changes are in registry.db-wal" in ran.stderr


@pytest.fixture
def reader(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database that this process believes it may only read."""
    monkeypatch.setattr("inhaul.db.sqlite.denied", lambda path: "it may only be read")
    return Database(f"sqlite:///{lab.registry}")


async def test_what_changes_while_it_is_read_is_not_believed(reader: Database) -> None:
    owner = sqlite3.connect(str(reader.path), isolation_level=None)
    with pytest.raises(DatabaseBusy, match="was written to while it was read: repeat the call"):
        async with reader.read() as conn:
            await conn.execute(text("SELECT * FROM artifact"))
            owner.execute("UPDATE artifact SET description = 'fresh'")
            owner.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            owner.close()
    async with reader.read() as conn:
        assert set(await conn.scalars(text("SELECT description FROM artifact"))) == {"fresh"}
    await reader.aclose()


async def test_an_older_or_newer_registry_that_may_only_be_read_is_refused(reader: Database) -> None:
    for revision, error, message in (
        ("0001", DatabaseDenied, r"older inhaul \(schema 0001, .* connect once with this release"),
        ("9999", SchemaTooNew, r"newer inhaul \(schema 9999"),
    ):
        owner = sqlite3.connect(str(reader.path))
        owner.execute("UPDATE inhaul_version SET version_num = ?", (revision,))
        owner.commit()
        owner.close()
        with pytest.raises(error, match=message):
            await reader.prepare()


async def test_a_file_without_a_registry_that_may_only_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inhaul.db.sqlite.denied", lambda path: "it may only be read")
    sqlite3.connect(tmp_path / "registry.db").execute("CREATE TABLE other (x)").connection.close()
    with pytest.raises(DatabaseDenied, match="holds no registry yet, and it may only be read"):
        await Database(f"sqlite:///{tmp_path}/registry.db").prepare()


async def test_who_is_let_write_again_can(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inhaul.connect(lab.storage):
        with monkeypatch.context() as patch:
            patch.setattr("inhaul.db.sqlite.denied", lambda path: "it may only be read")
            with pytest.raises(DatabaseDenied):
                await ULabel("new").save()
            assert await ULabel.filter().count() == 1
        await ULabel("new").save()
        assert await ULabel.filter().count() == 2


UNREADABLE = """
import asyncio, sys
import inhaul
from inhaul import Artifact, Collection, Defect
from inhaul.errors import StorageDenied

async def main():
    inhaul.connect(sys.argv[1])
    async def denied(call):
        try:
            return print("no error:", await call())
        except StorageDenied as error:
            assert "This user may not read it: ask its owner" in str(error), error
            return error.filename
    for artifact in await Artifact.filter().order_by("id").all():
        path = str(artifact.path)
        assert (await denied(artifact.load)).startswith(path)
        assert (await denied(artifact.cache)).startswith(path)
        if artifact.suffix == ".parquet":
            assert (await denied(artifact.backed)).startswith(path)
        for read in (False, True):
            (finding,) = (await artifact.verify(read=read)).findings
            assert (finding.defect, finding.path) == (Defect.UNREADABLE, path)
            assert "may not read it" in finding.detail
    await denied((await Collection.filter().one()).cache)
    if sys.argv[2] == "file":
        assert len((await inhaul.verify()).findings) == 3
    else:
        await denied(inhaul.verify)

asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_an_object_that_may_not_be_read_is_named_with_what_to_do(lab: Lab, what: str) -> None:
    (lab.new.parent / "other.txt").write_text("other")
    async with inhaul.connect(lab.storage):
        await Artifact(lab.new.parent, key="folder").save()
        for artifact in await Artifact.filter().all():
            path = Path(str(artifact.path))
            if what == "folder":
                (path if path.is_dir() else path.parent).chmod(0o700)
            else:
                (path / "new.txt" if path.is_dir() else path).chmod(0o600)
    lab.uid = what
    ran = lab.run(UNREADABLE)
    assert (ran.stdout, ran.stderr) == ("", "")


async def test_who_may_not_write_to_a_storage_is_told_so(lab: Lab) -> None:
    """The user owns the registry, but not the storage."""
    own = lab.storage.parent / "own"
    own.mkdir()
    own.chmod(0o777)
    lab.uid = str(own / "registry.db")
    for extra in ("", ", key_is_virtual=False"):
        ran = lab.run(f"""
import sys
import inhaul.sync as ih
from inhaul.errors import StorageDenied
ih.connect(sys.argv[1], db=f"sqlite:///{{sys.argv[2]}}")
try:
    ih.Artifact(sys.argv[3], key="new.txt"{extra}).save()
except StorageDenied as error:
    print(error)
print(ih.Artifact.filter().count())
""")
        assert ran.stderr == ""
        assert "This user may not write here: ask the owner of the storage for access" in ran.stdout
        assert ran.stdout.endswith("0\n")
