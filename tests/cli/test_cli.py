"""The command line: what it prints, and its exit status."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from children import on_terminal
from commands import COMMAND, inhaul
from inhaul import hashing

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "lines.schema.json"


def summary(output: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, value in (line.rsplit("  ", 1) for line in output.splitlines())}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.csv", "b.txt", "copy of b.txt", "c.log"):
        (folder / name).write_text(name[-5:])
    return folder


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inhaul", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    command = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == command.stdout == inhaul("--help").stdout


def test_init_makes_the_registry(tmp_path: Path) -> None:
    result = inhaul("init", "--storage", tmp_path / "root", "--db", f"sqlite:///{tmp_path / 'here.db'}")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "here.db").exists()
    assert result.stdout.splitlines() == [f"storage\t{tmp_path / 'root'}", f"registry\t{tmp_path / 'here.db'}"]


def test_ingest_ends_with_a_summary(folder: Path) -> None:
    result = inhaul("ingest", folder, "--key", "plates", "--exclude", "*.log", "--duplicates", "drop")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert {"files": "2", "new": "2", "failed": "0"}.items() <= summary(result.stdout).items()
    assert summary(inhaul("ingest", folder, "--key", "plates").stdout)["unchanged"] == "2"
    assert [line.split("\t")[1] for line in inhaul("ls").stdout.splitlines()][-2:] == ["plates/b.txt", "plates/a.csv"]


def test_ingest_follows_links_when_asked_to(folder: Path) -> None:
    (folder / "link.txt").symlink_to("b.txt")
    assert summary(inhaul("ingest", folder).stdout)["skipped"] == "1"
    assert summary(inhaul("ingest", folder, "--follow-symlinks").stdout)["skipped"] == "0"


def test_ingest_tells_what_failed(folder: Path) -> None:
    for number in range(12):
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff%d" % number)).touch()
    result = inhaul("ingest", folder)
    assert result.returncode == 3
    assert {"new": "4", "failed": "12"}.items() <= summary(result.stdout).items()
    numbers = sorted(map(str, range(12)))
    assert result.stderr.splitlines() == [f"not_utf8: '{folder}/\\udcff{number}'" for number in numbers]


@pytest.mark.parametrize("command", ["gc", "verify"])
@pytest.mark.parametrize("days", ["inf", "1e9"])
def test_days_that_no_date_has_are_refused(command: str, days: str) -> None:
    result = inhaul(command, "--days", days)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "less than or equal to 36500" in result.stderr


def test_ingest_shows_progress_on_a_terminal(folder: Path) -> None:
    assert b"4 of 4 files" in on_terminal(COMMAND, "ingest", folder, output="stderr")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "missing"], "inhaul: There is no such folder: missing\n"),
        (["ingest", "data/a.csv"], "inhaul: This is a file: pass a folder: data/a.csv\n"),
        (["ingest", "ftp://bucket/data"], "inhaul: ftp:// is not supported"),
        (
            ["ingest", "~nobody-of-this-name"],
            "inhaul: The home folder at its start belongs to no user: ~nobody-of-this-name\n",
        ),
        (["ingest", "data", "--key", "../up"], "inhaul: '../up' cannot be a key: "),
        (["ls", "--db", "mysql://host/name"], "inhaul: "),
        (["ls", "--storage", "ftp://bucket"], "inhaul: ftp:// is not supported"),
        (["ls", "--storage", "typo"], "inhaul: There is no registry at "),
        (["show", "nobody"], "inhaul: There is no registry at "),
        (["verify", "--db", "sqlite:///typo.db"], "inhaul: There is no registry at "),
        (["gc", "--storage", "typo"], "inhaul: There is no registry at "),
        (["cache", "nobody"], "inhaul: There is no registry at "),
    ],
)
def test_what_cannot_run_is_told_in_one_line(folder: Path, arguments: list[str], message: str) -> None:
    result = inhaul(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert not any(Path(name).exists() for name in ("typo", "typo.db", ".inhaul"))


def test_an_unknown_uid_is_told_in_one_line(folder: Path) -> None:
    assert inhaul("init").returncode == 0
    result = inhaul("show", "nobody")
    assert (result.returncode, result.stderr) == (2, "inhaul: No Artifact has the uid 'nobody'\n")


def test_a_wrong_option_is_a_usage_error(folder: Path) -> None:
    assert inhaul("hash", "--part-size", str(2**64), folder / "a.csv").returncode == 2
    result = inhaul("ingest", folder, "--duplicates", "double")
    assert result.returncode == 2
    assert "Usage: inhaul ingest" in result.stderr
    assert "Traceback" not in result.stderr


def test_ls_lists_the_newest_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inhaul("ingest", folder)
    inhaul("ingest", folder, "--key", "again")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as notebooks do
    rows = [line.split("\t") for line in inhaul("ls").stdout.splitlines()]
    assert [key for _, key, *_ in rows[:4]] == [
        f"again/{name}" for name in ("copy of b.txt", "c.log", "b.txt", "a.csv")
    ]
    assert [size for _, _, size, *_ in rows] == ["5"] * 8
    assert len(inhaul("ls", "--limit", "3").stdout.splitlines()) == 3
    assert len(inhaul("ls", "--key-prefix", "data/c").stdout.splitlines()) == 2


def test_ls_prints_a_table_on_a_terminal(folder: Path) -> None:
    inhaul("ingest", folder, "--key", "[red]")
    assert b"[red]/a.csv" in on_terminal(COMMAND, "ls")


def test_show_tells_all_of_one_artifact(folder: Path) -> None:
    inhaul("ingest", folder)
    uid = inhaul("ls", "--key-prefix", "data/b").stdout.split("\t")[0]
    shown = dict(line.split("\t") for line in inhaul("show", uid).stdout.splitlines())
    assert Path(shown["path"]).read_text() == "b.txt"
    assert (shown["uid"], shown["key"], shown["bytes"]) == (uid, "data/b.txt", "5")
    assert shown["hash"].startswith("md5 ")


def shell(command: str) -> subprocess.CompletedProcess[str]:
    whole = f"'{COMMAND}' {command}"
    return subprocess.run(["bash", "-c", whole], capture_output=True, text=True, timeout=60, check=False)


def test_output_that_goes_nowhere_is_told_in_one_line(folder: Path) -> None:
    done = shell("ingest data >&-")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard output is closed" in done.stderr
    assert not Path(".inhaul").exists()
    assert shell("ingest data").returncode == 0
    uid = inhaul("ls").stdout.split("\t")[0]
    of_one = (f"show {uid}", f"cache {uid}")
    for command in ("init", "ingest data", "ls", *of_one, "hash data/a.csv", "--help", "--version"):
        done = shell(f"{command} >/dev/full")
        assert (done.returncode, done.stderr) == (
            1,
            "inhaul: the output cannot be written: No space left on device\n",
        )
        assert shell(f"{command} | true").stderr == ""
    assert shell("ingest data 2>&-").returncode == 0


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("verify", "--source", "data"), "pass --repair"),
        (("verify", "--repair", "--source", "s3://bucket/x"), "s3://bucket/x': pass a folder or file on this machine"),
        (("hash", ""), "The path is empty"),
        (("ingest", "data", "--exclude", ""), "the pattern is empty"),
        (("ingest", "data", "--db", ""), "names no database"),
    ],
)
def test_arguments_that_mean_nothing_are_refused_before_anything_is_done(
    folder: Path, command: tuple[str, ...], told: str
) -> None:
    if command[0] == "verify":
        inhaul("init")
    before = sorted(Path().rglob("*"))
    done = inhaul(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert sorted(Path().rglob("*")) == before


def test_version_prints_the_version_of_the_package() -> None:
    assert inhaul("--version").stdout == f"inhaul {version('inhaul')}\n"


def md5sum(*paths: str | Path | bytes) -> bytes:
    return subprocess.run(["md5sum", *paths], capture_output=True, timeout=60, check=True).stdout


def test_hash_prints_what_md5sum_prints(tmp_path: Path) -> None:
    names = [b"plain", b"two words", b"back\\slash", b"line\nbreak\r", b"not utf-8 \xff", "\N{SNOWMAN}".encode()]
    for number, name in enumerate(names):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x" * number)
    (tmp_path / "empty").touch()
    paths = [*names, "./plain", tmp_path / "empty"]
    result = subprocess.run([COMMAND, "hash", *paths], capture_output=True, timeout=60, check=True)
    assert result.stdout == md5sum(*paths)
    (tmp_path / "sums").write_bytes(result.stdout)
    subprocess.run(["md5sum", "--check", "--strict", "--quiet", "sums"], timeout=60, check=True)


def test_hash_of_a_large_file_follows_the_options(tmp_path: Path) -> None:
    content = b"0123456" * 3_000_000
    (tmp_path / "large").write_bytes(content)
    whole = hashlib.md5(content).hexdigest()
    parts = [hashlib.md5(content[at : at + 8_388_608]).digest() for at in range(0, len(content), 8_388_608)]
    etag = f"{hashlib.md5(b''.join(parts)).hexdigest()}-3"
    assert inhaul("hash", "large").stdout == inhaul("hash", "--etag", "large").stdout == f"{etag}  large\n"
    assert inhaul("hash", "large", "--algorithm", "md5-whole").stdout == f"{whole}  large\n"
    assert inhaul("hash", "large", "--part-size", "30000000").stdout == f"{whole}  large\n"
    sha256 = hashlib.sha256(content).hexdigest()
    assert inhaul("hash", "large", "--algorithm", "sha256").stdout == f"{sha256}  large\n"
    assert json.loads(inhaul("hash", "large", "--etag", "--json").stdout) == {
        "path": "large",
        "hash": base64.urlsafe_b64encode(bytes.fromhex(etag[:32])).decode().rstrip("="),
        "hash_type": "md5-3",
        "size": len(content),
        "etag": etag,
    }


def test_hash_prints_hashes_of_folders_and_names_those_without(folder: Path) -> None:
    (folder.parent / "none").mkdir()
    result = inhaul("hash", "--algorithm", "md5-tree", "--json", folder, "none", "missing")
    assert result.returncode == 3
    assert json.loads(result.stdout) == {"path": str(folder), **hashing.hash_dir(folder)._asdict()}
    assert result.stderr.splitlines() == [
        "inhaul: none: a folder without files has no hash",
        "inhaul: No such file or directory: missing",
    ]


def test_hash_tells_what_failed_and_hashes_the_rest(folder: Path) -> None:
    result = inhaul("hash", "data/a.csv", "missing", "data", "data/c.log")
    assert result.returncode == 3
    assert result.stdout.encode() == md5sum("data/a.csv", "data/c.log")
    assert result.stderr == "inhaul: No such file or directory: missing\ninhaul: Is a directory: data\n"


def test_hash_refuses_an_etag_that_is_no_md5(folder: Path) -> None:
    result = inhaul("hash", "--etag", "--algorithm", "sha256", "data/a.csv")
    assert (result.returncode, result.stdout) == (2, "")
    assert "leave out --algorithm" in result.stderr


@pytest.fixture
def stored(tmp_path: Path, folder: Path) -> tuple[str, Path]:
    """The uid of an artifact in the storage `root`, and the path of its object."""
    root = tmp_path / "root"
    assert inhaul("ingest", folder, "--storage", root).returncode == 0
    rows = [line.split("\t") for line in inhaul("ls", "--storage", root).stdout.splitlines()]
    uid = {key: uid for uid, key, *_ in rows}["data/a.csv"]
    return uid, Path(inhaul("cache", uid, "--storage", root).stdout.strip())


def test_where_all_is_well_verify_and_gc_print_nothing(stored: tuple[str, Path]) -> None:
    for command in ("verify", "gc"):
        done = inhaul(command, "--storage", "root")
        assert (done.returncode, done.stdout) == (0, ""), command


def test_verify_prints_what_it_finds(stored: tuple[str, Path]) -> None:
    uid, path = stored
    assert path.read_text() == "a.csv"
    path.write_text("A.csv")
    verified = inhaul("verify", "--storage", "root")
    assert verified.returncode == 3
    assert verified.stdout.split("\t")[:3] == ["altered", str(path), uid]
    assert "not as registered\t1" in verified.stderr


def test_gc_prints_what_it_finds_and_deletes_it_if_told_to(stored: tuple[str, Path]) -> None:
    orphan = stored[1].with_name("0" * 20)
    orphan.write_text("12345")
    assert inhaul("gc", "--storage", "root").stdout == ""
    found = inhaul("gc", "--days", "0", "--storage", "root")
    assert (found.stdout, found.stderr) == (f"object\t{orphan}\n", "1 (5 bytes) found; --delete deletes them\n")
    assert orphan.exists()
    assert inhaul("gc", "--days", "0", "--delete", "--storage", "root").stderr == "1 (5 bytes) deleted\n"
    assert not orphan.exists()


def test_verify_fails_where_there_is_no_registry(tmp_path: Path) -> None:
    assert inhaul("verify", "--storage", tmp_path / "elsewhere").returncode == 2


def lines_of(command: str, output: str) -> list[dict[str, Any]]:
    """Returns the JSON lines of a command, each checked with the schema in the documentation."""
    schema = json.loads(SCHEMA.read_text())
    one = Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{command}"})
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        one.validate(line)
    return lines


def test_ingest_prints_json_lines(folder: Path) -> None:
    result = inhaul("ingest", folder, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    *progress, report = lines_of("ingest", result.stdout)
    assert {one["event"] for one in progress} == {"progress"}
    assert (report["event"], report["files"], report["new"], report["failed"]) == ("report", 4, 4, 0)


def test_json_lines_of_odd_names_are_valid_and_say_which_file_it_is(folder: Path) -> None:
    names = [b"\xff", b"a\xc3(\n", b"\xed\xa0\x80", b"\x7f\xfe"]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()
    (folder / "\x7f").touch()
    result = inhaul("ingest", folder, "--json")
    assert (result.returncode, result.stderr) == (3, "")
    assert result.stdout.isascii()
    assert result.stdout.replace("\n", "").isprintable()
    _, *failed, report = lines_of("ingest", result.stdout)
    assert {base64.b64decode(one["path_base64"]) for one in failed} == {os.fsencode(folder) + b"/" + n for n in names}
    for one in failed:
        f"{one['path']}{one['error']}".encode()  # raises if half of a surrogate pair is left
        assert one["path"].startswith(str(folder))
    assert (report["new"], report["failed"]) == (5, len(names))


def test_an_ingest_of_nothing_prints_a_whole_report(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (report,) = lines_of("ingest", inhaul("ingest", tmp_path / "empty", "--json").stdout)
    assert (report["files"], report["new"]) == (0, 0)


def test_progress_is_a_line_in_each_second_at_most(tmp_path: Path) -> None:
    names = tmp_path / "names"
    os.mkfifo(names)
    with subprocess.Popen([COMMAND, "ingest", "--from", names, "--json"], stdout=subprocess.PIPE, text=True) as running:
        with names.open("w") as list_file:
            for number in range(12):  # each becomes a batch
                (tmp_path / f"{number}.txt").write_text(str(number))
                list_file.write(f"{number}.txt\n")
                list_file.flush()
                time.sleep(0.3)
        assert running.stdout is not None
        *progress, report = lines_of("ingest", running.stdout.read())
    assert report["files"] == 12
    assert len(progress) >= 2
    times = [one["seconds"] for one in progress]
    assert all(after - before >= 1 for before, after in pairwise(times))


def test_json_lines_end_quietly_when_nobody_reads_them(folder: Path) -> None:
    for number in range(3000):
        (folder / f"\udcff{number}").touch()
    with subprocess.Popen(
        [COMMAND, "ingest", folder, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith('{"event": "progress"')
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_verify_prints_json_lines(folder: Path) -> None:
    inhaul("ingest", folder)
    assert [one["event"] for one in lines_of("verify", inhaul("verify", "--json").stdout)] == ["report"]
    objects = [path for path in Path(".inhaul/storage/.inhaul").glob("?/*") if path.is_file()]
    objects[0].unlink()
    result = inhaul("verify", "--json")
    assert (result.returncode, result.stderr) == (3, "")
    finding, report = lines_of("verify", result.stdout)
    assert (finding["defect"], finding["path"]) == ("missing", str(objects[0].absolute()))
    assert (report["checked"], report["findings"]) == (4, 1)
