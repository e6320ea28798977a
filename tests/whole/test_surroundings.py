"""Where there is no home, no name, no current folder, no UTF-8, or no room for temporary files."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

import children
from commands import COMMAND, inhaul
from disks import disk
from inhaul import Artifact, connect, settings
from inhaul.errors import StorageFull
from inhaul.settings import Settings
from trees import write

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NOBODY = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")  # a user with neither name nor home


def test_a_user_without_a_home_and_a_name_can_import_it() -> None:
    code = "import inhaul, inhaul.sync; print(inhaul.settings.user, inhaul.settings.cache_dir)"
    done = children.run(code, wrapper=("env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "INHAUL_CACHE_DIR", *NOBODY))
    assert done.stdout.split() == ["54321", ".inhaul/cache/inhaul"], done.stderr


def test_an_absolute_path_serves_where_the_current_folder_is_gone(tmp_path: Path) -> None:
    code = """
import os, sys
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
import inhaul.sync as ih
ih.connect(sys.argv[1])
print(ih.Artifact(sys.argv[2], key="a.txt").save().key, len(ih.Artifact.filter().all()))
for wrong in ("relative", None):
    try:
        ih.connect(wrong)
    except FileNotFoundError as error:
        print(error.strerror)
"""
    done = children.run(code, str(tmp_path / "storage"), str(write(tmp_path / "a.txt", "a")))
    assert done.returncode == 0, done.stderr
    first, *errors = done.stdout.splitlines()
    assert first == "a.txt 1"
    assert errors == ["The current folder was removed: change to another one, or pass absolute paths"] * 2


def test_a_registry_that_is_named_by_its_path_is_read_where_the_current_folder_is_gone(tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path}/sub/.inhaul/registry.db"
    assert inhaul("ingest", str(write(tmp_path / "d" / "a.txt", "a").parent), "--db", db, cwd=tmp_path).returncode == 0
    gone = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")
    code = "from inhaul.cli import app; app()"
    listed = children.run(code, "ls", "--db", db, wrapper=("env", "-C", str(tmp_path), *gone))
    assert (listed.stderr, listed.returncode) == ("", 0)
    assert "d/a.txt" in listed.stdout
    refused = children.run(code, "ls", "--db", "sqlite:///r.db", wrapper=("env", "-C", str(tmp_path), *gone))
    assert (refused.stdout, refused.returncode) == ("", 2)
    assert "The current folder was removed" in refused.stderr
    code = """
import sys
import inhaul.sync as ih
instance = ih.connect(db=sys.argv[1])
print(instance)
"""
    made = children.run(code, db, wrapper=("env", "-C", str(tmp_path), *gone))
    assert f"{tmp_path}/sub/.inhaul/storage" in made.stdout, made.stderr


def test_names_are_utf8_for_commands_in_any_locale(tmp_path: Path) -> None:
    write(tmp_path / "données" / "è.csv", "1")
    for arguments in (["ingest", "données"], ["ls"]):
        command = [COMMAND, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | ASCII, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "données/è.csv" in done.stdout


def test_a_program_in_a_locale_without_utf8_is_told_what_to_set(tmp_path: Path) -> None:
    write(tmp_path / "données" / "è.csv", "1")
    write(tmp_path / "plain" / "è.csv", "1")
    code = """
import os
import inhaul.sync as ih
(name,) = [one for one in os.listdir() if one.startswith("donn")]
for path in (name, "donn\\u00e9es", "donn\\udcff"):
    try:
        ih.Artifact(path, key="x.csv").save()
    except ih.errors.InvalidKey if hasattr(ih, "errors") else ValueError as error:
        print(ascii(str(error)))
print(len(ih.Artifact.from_dir("plain").save()))
"""
    environment = [f"{name}={value}" for name, value in ASCII.items()]
    done = children.run(code, wrapper=("env", *environment))
    assert done.returncode == 0, done.stderr
    one, other, wrong, saved = done.stdout.splitlines()
    for text in (one, other):
        assert "set PYTHONUTF8=1" in text
        assert "not UTF-8" not in text
    assert "is not UTF-8" in wrong
    assert saved == "1"


def test_files_that_a_program_in_such_a_locale_cannot_name_are_refused_by_key(tmp_path: Path) -> None:
    """A folder of such files is registered nevertheless, because Rust reads it."""
    write(tmp_path / "storage" / "è.txt", "1")
    code = """
import inhaul.sync as ih
ih.connect("storage")
(one,) = ih.Artifact.from_dir("storage").save()
new = ih.Artifact("plain.txt", key="d/\\u00e9.txt", key_is_virtual=False)
for call in (one.load, one.cache, one.verify, lambda: one.path, lambda: one.replace("plain.txt"), new.save):
    try:
        call()
    except ValueError as error:
        print(type(error).__name__, ascii(str(error)))
print(ih.Artifact("plain.txt", key="\\u00e9.txt").save().load())
"""
    write(tmp_path / "plain.txt", "plain")
    done = children.run(code, wrapper=("env", *(f"{name}={value}" for name, value in ASCII.items())))
    assert done.returncode == 0, done.stderr
    *refused, loaded = done.stdout.splitlines()
    assert len(refused) == 6
    assert all(line.startswith("InvalidKey") and "set PYTHONUTF8=1" in line for line in refused)
    assert loaded == "plain"
    assert not (tmp_path / "storage" / "d").exists()


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files on a disk that is nearly full; mounting it takes root."""
    with disk(tmp_path / "tmp", "256k") as folder:
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        yield folder


def frame() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).random((100_000, 4)), columns=list("abcd"))


def annotated() -> ad.AnnData:
    return ad.AnnData(np.random.default_rng(0).random((2000, 200)))


OBJECTS: dict[str, Callable[[], Any]] = {
    "x.parquet": frame,
    "x.h5ad": annotated,
    "x.anndata.zarr": annotated,
    "x.h5mu": lambda: md.MuData({"rna": annotated()}),
}


@pytest.mark.parametrize("key", OBJECTS)
@pytest.mark.filterwarnings("ignore")
async def test_no_room_for_temporary_files_names_them_and_the_need(tmp_path: Path, full: Path, key: str) -> None:
    async with connect(tmp_path / "storage"):
        data = OBJECTS[key]()
        with pytest.raises(StorageFull, match=r"About \d{7} bytes are needed.*TMPDIR") as caught:
            await Artifact(data, key=key, format="zarr" if "zarr" in key else None).save()
        assert caught.value.errno == errno.ENOSPC
        assert str(full) in str(caught.value.filename)
        for _ in range(500):  # a thread removes what was written
            if not any(full.iterdir()):
                break
            await asyncio.sleep(0.01)
        assert list(full.iterdir()) == []
        assert await Artifact.objects.count() == 0


async def test_no_room_for_the_folder_of_temporary_files(tmp_path: Path, full: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (full / "rest").write_bytes(bytes(1 << 20))
    async with connect(tmp_path / "storage"):
        with pytest.raises(StorageFull, match="TMPDIR"):
            await Artifact(frame(), key="x.parquet").save()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("INHAUL_THREADS", value) for value in ("x", "99999999999", "1025", "0", "-1", "1e3", "٣", "9" * 5000)),
        ("INHAUL_CACHE_LIMIT", "1 GB"),
        ("INHAUL_DURABILITY", "never"),
    ],
)
def test_a_wrong_setting_is_told_when_it_is_used(tmp_path: Path, variable: str, value: str) -> None:
    write(tmp_path / "d" / "a.txt", "a")
    done = inhaul("ingest", tmp_path / "d", cwd=tmp_path, **{variable: value})
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith((f"inhaul: {variable}={value!r}: use ", f"inhaul: {variable}={value}: use "))
    assert not (tmp_path / ".inhaul").exists()
    hashed = inhaul("hash", tmp_path / "d" / "a.txt", **{variable: value})
    if variable == "INHAUL_THREADS":
        assert (hashed.returncode, hashed.stdout, hashed.stderr) == (2, "", done.stderr)
    else:
        assert hashed.returncode == 0


@pytest.mark.parametrize(
    ("name", "values", "advice"),
    [
        ("threads", (0, -1, 10**11, 1.5, "4", True), "use a number from 1 to 1,024"),
        ("cache_limit", ("5GB", -1, 1.5, True, 2**63), "use a number of bytes"),
        ("durability", ("Batch", None, 5, ""), "use one of batch, process"),
        ("storage", (5, b"x", ""), "pass a text|be empty"),
        ("db", (5, b"x", "", "x\0"), "db is no address"),
        ("cache_dir", (5, None, ""), "pass a text|path is empty"),
        ("user", (5, None, ""), "pass a text|be empty"),
    ],
)
def test_a_wrong_value_is_not_assigned_to_a_setting(name: str, values: tuple[object, ...], advice: str) -> None:
    before = getattr(settings, name)
    for wrong in values:
        with pytest.raises((TypeError, ValueError), match=advice):
            setattr(settings, name, wrong)
    assert getattr(settings, name) == before


def test_settings_take_all_values_that_have_a_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        *(("threads", 1024), ("threads", None), ("cache_limit", 0), ("cache_limit", None)),
        *(("durability", "process"), ("storage", "s3://bucket"), ("storage", None), ("db", None), ("user", "ada")),
    ):
        monkeypatch.setattr(settings, name, value)
        assert getattr(settings, name) == value
    monkeypatch.setattr(settings, "storage", tmp_path / "storage")
    assert settings.storage == str(tmp_path / "storage")
    monkeypatch.setattr(settings, "cache_dir", "~/copies")
    assert settings.cache_dir == Path.home() / "copies"


def test_no_password_is_shown_of_the_database_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("postgresql://ada:secret@host/lab", "postgresql://host/lab?user=ada&password=secret"):
        monkeypatch.setattr(settings, "db", address)
        assert "db='postgresql://...'" in repr(settings)
        with pytest.raises(ValueError) as raised:
            settings.db = f"{address}\0"
        assert "secret" not in str(raised.value)
    monkeypatch.setattr(settings, "db", "sqlite:///lab.db")
    assert "db='sqlite:///lab.db'" in repr(settings)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("STORAGE", "DB", "CACHE_DIR", "CACHE_LIMIT", "USER", "THREADS", "DURABILITY")
    for name in names:
        monkeypatch.setenv(f"INHAUL_{name}", "")
    empty = Settings().read()
    for name in names:
        monkeypatch.delenv(f"INHAUL_{name}")
    assert empty == Settings().read()


def test_hash_says_what_a_pipe_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = inhaul("hash", tmp_path / "pipe")
    assert done.returncode == 3
    assert done.stderr == f"inhaul: This is a named pipe, not a regular file: {tmp_path / 'pipe'}\n"


NASTY = "\x1b[2J\x1b]0;owned\x07\u202eevil\r\n\ttab"


async def test_no_command_prints_what_moves_the_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "storage"
    monkeypatch.setattr("inhaul.settings.user", NASTY)
    write(tmp_path / "d" / f"{NASTY}.txt", "a")
    async with connect(root) as instance:
        artifact = await Artifact(
            tmp_path / "d" / f"{NASTY}.txt",
            key=f"{NASTY}.txt",
            description=NASTY,
            version=NASTY[:20],
            key_is_virtual=False,
        ).save()
        virtual = await Artifact(write(tmp_path / "b.txt", "b"), key="b.txt").save()
        (Path(instance.root) / f"{artifact.key}").unlink()
        write(Path(instance.root) / ".inhaul" / "a" / f"{NASTY}0000", "extra")
        os.utime(Path(instance.root) / ".inhaul" / "a" / f"{NASTY}0000", (0, 0))
        write(instance.home / "replacing" / f"{NASTY}.json", "{}")
        virtual.path.unlink()
    commands: list[list[str | Path]] = [
        ["ls"],
        ["show", artifact.uid],
        ["show", NASTY],
        ["cache", artifact.uid],
        ["cache", NASTY],
        ["verify"],
        ["gc", "--days", "0.1"],
        ["ingest", tmp_path / NASTY],
        ["ingest", tmp_path / "d", "--key", NASTY, "--exclude", f"[{NASTY}"],
        ["ingest", tmp_path / "d"],
        ["ls", "--key-prefix", NASTY],
        ["hash", tmp_path / f"none{NASTY}"],
        ["init", "--db", f"sqlite:///{tmp_path}/{NASTY}.db"],
        ["ls", "--db", f"postgresql://{NASTY}/x"],
        ["testremote", f"s3://{NASTY}"],
        ["bench", tmp_path / NASTY],
    ]
    for command in commands:
        where = [] if command[0] in ("hash", "testremote") or "--db" in command else ["--storage", root]
        done = inhaul(*command, *where)
        printed = done.stdout + done.stderr
        shown = [character for character in printed if not character.isprintable() and character not in "\n\t"]
        assert shown == [], (command, printed)
        assert "Traceback" not in printed, (command, printed)
        assert not [line for line in printed.splitlines() if line.startswith(("tab", "evil"))], (command, printed)
