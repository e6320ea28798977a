import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import inhaul
from inhaul import Artifact, Feature, IngestReport, Reason, Status, ULabel
from inhaul.errors import InvalidKey, ValidationError
from inhaul.instance import Instance
from lists import counts, failed, ingest, keys, table
from registries import assert_consistent, query
from trees import text_file, write

pytestmark = pytest.mark.usefixtures("no_power_fails")

FEATURES = {
    "dose": "int",
    "weight": "float",
    "any_number": "number",
    "ok": "bool",
    "note": "str",
    "at": "datetime",
    "kind": "cat",
    "organ": "cat[ULabel]",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        text_file(tmp_path / "lab" / "plates", f"{number}.csv")
    return tmp_path / "lab"


@pytest.fixture
async def annotated(database_url: str, tmp_path: Path) -> Any:
    """An instance with features and labels."""
    async with inhaul.connect(tmp_path / "storage", database_url) as instance:
        await inhaul.save([Feature(name, dtype) for name, dtype in FEATURES.items()])
        await inhaul.save([ULabel(name) for name in ("heart", "liver", "new batch")])
        yield instance


def csv(folder: Path, *lines: str, name: str = "manifest.csv") -> Path:
    return write(folder / name, "\n".join(lines))


def json_lines(folder: Path, *rows: Any) -> Path:
    return write(folder / "manifest.jsonl", "\n".join(map(json.dumps, rows)))


async def annotations(key: str) -> tuple[str | None, list[str], dict[str, Any]]:
    """Returns the description, the plain labels and the values of the artifact with a key."""
    artifact = await Artifact.filter(key=key).one()
    values = await artifact.features.get_values()
    labels = sorted(label.name for label in await artifact.ulabels.all())
    return artifact.description, labels, values


async def test_a_table_names_files_keys_and_annotations(annotated: Instance, database_url: str, folder: Path) -> None:
    manifest = csv(
        folder,
        "path,key,description,labels,dose,weight,any_number,ok,note,at,kind,organ",
        'plates/0.csv,,"first, with a comma",heart; new batch,5,0.5,3,TRUE,,2024-05-01T10:00+02:00,a,liver',
        'plates/1.csv,k/1.csv,,,5.0,1e3,2.5,false,"two\nlines",,,',
        "",
        "plates/2.csv,,,,,,,,,,,",
    )
    report = await inhaul.ingest(paths=manifest)
    assert counts(report) == {Status.NEW: 3}
    await assert_consistent(database_url, Path(annotated.root))
    values = {"dose": 5, "weight": 0.5, "any_number": 3, "ok": True, "kind": "a", "organ": "liver"}
    values["at"] = datetime(2024, 5, 1, 8, tzinfo=UTC)
    first = await annotations("plates/0.csv")
    assert first == ("first, with a comma", ["heart", "liver", "new batch"], values)
    second = {"dose": 5, "weight": 1000.0, "any_number": 2.5, "ok": False, "note": "two\nlines"}
    assert await annotations("k/1.csv") == (None, [], second)
    assert await annotations("plates/2.csv") == (None, [], {})


async def test_json_lines_have_types_and_lists(annotated: Instance, folder: Path) -> None:
    row: dict[str, Any] = {
        "path": "plates/0.csv",
        "labels": ["heart", "liver"],
        "dose": [1, 2],
        "ok": False,
        "note": None,
    }
    odd = {"path": "plates/3.csv", "labels": "heart;liver", "description": "d", "at": "2024-05-01T10:00Z"}
    report = await inhaul.ingest(paths=json_lines(folder, row, odd))
    assert counts(report) == {Status.NEW: 2}
    assert await annotations("plates/0.csv") == (None, ["heart", "liver"], {"dose": [1, 2], "ok": False})
    at = datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert await annotations("plates/3.csv") == ("d", ["heart", "liver"], {"at": at})


CSV_MISTAKES = {
    "dose,5.5": "dose='5.5': the feature takes a whole number",
    "dose,5_000": "dose='5_000'",
    "weight,nan": "weight='nan': the feature takes a finite number",
    "ok,yes": "ok='yes': the feature takes True or False",
    "at,2024-05-01": "a datetime with a time zone",
    "organ,lung": "there is no label 'lung'",
    "labels,heart;lung": "there is no label 'lung'",
    "description,a\0b": "without NUL characters",
    "note,a\0b": "note=",
}


@pytest.mark.parametrize(("cell", "problem"), CSV_MISTAKES.items())
async def test_a_row_with_a_mistake_is_not_ingested(annotated: Instance, folder: Path, cell: str, problem: str) -> None:
    column, _, value = cell.partition(",")
    rows = [f"plates/0.csv,{value},fine", "plates/1.csv,,fine"]
    report = await inhaul.ingest(paths=csv(folder, f"path,{column},kind", *rows))
    assert counts(report) == {Status.NEW: 1}
    (issue,) = report.failed
    assert (Path(issue.path).name, issue.reason) == ("0.csv", Reason.INVALID_ENTRY)
    assert problem in str(issue.error)
    assert "'manifest.csv', line 2:" in str(issue.error)
    assert isinstance(issue.error, ValidationError)
    assert await Artifact.filter().count() == 1
    assert await annotations("plates/1.csv") == (None, [], {"kind": "fine"})


async def test_rows_that_cannot_be_read_are_reported(annotated: Instance, folder: Path) -> None:
    good = {"path": "plates/0.csv"}
    wrong: list[Any] = [{"path": 5}, {"key": "k"}, [], {"path": "plates/1.csv", "key": 5}, {**good, "dose": "5"}]
    wrong += [{"path": "plates/1.csv", "ok": 1}, {"path": "plates/1.csv", "labels": [5]}, {"path": "\ud800"}]
    manifest = json_lines(folder, *wrong, good)
    manifest.write_text(manifest.read_text() + "\n{\n" + "[" * 100_000)
    report = await inhaul.ingest(paths=manifest)
    assert counts(report) == {Status.NEW: 1}
    assert [issue.reason for issue in report.failed] == [Reason.INVALID_ENTRY] * 10
    short = csv(folder, "path,dose", "plates/1.csv", "plates/2.csv,1,2", ",1", "plates/3.csv,1", "gone.csv,1")
    report = await inhaul.ingest(paths=short)
    assert counts(report) == {Status.NEW: 1}
    assert failed(report) == {
        "1.csv": Reason.INVALID_ENTRY,
        "2.csv": Reason.INVALID_ENTRY,
        "manifest.csv": Reason.INVALID_ENTRY,
        "gone.csv": Reason.VANISHED,
    }


REFUSED = {
    "path,doze\nplates/0.csv,": "'doze' is no registered feature; the nearest is 'dose'",
    "path,label\nplates/0.csv,": "the nearest is 'labels'",
    "path,qqqqqq\nplates/0.csv,": "rename it, leave it out, or register",
    "file,dose\nplates/0.csv,": "no column 'path'",
    "": "no column 'path', only nothing",
    "path,dose,dose\n": "'dose' twice",
    "path,,dose\n": "column 2 has no name",
    'path,note\nplates/0.csv,"open': "line 2",
    '{"path": "plates/0.csv"}\n{"path": "plates/1.csv", "doze": 1}': "'doze' is no registered feature",
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.items())
async def test_a_wrong_manifest_is_refused_before_anything_is_written(
    annotated: Instance, folder: Path, text: str, problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        await inhaul.ingest(paths=write(folder / "manifest", text))
    assert await Artifact.filter().count() == 0


async def test_keys_and_addresses_are_checked_first(annotated: Instance, folder: Path) -> None:
    with pytest.raises(InvalidKey, match=r'has the key "plates/1\.csv", too'):
        await inhaul.ingest(paths=csv(folder, "path,key", "plates/1.csv,", "plates/0.csv,plates/1.csv"))
    with pytest.raises(NotImplementedError, match="this is an address"):
        await inhaul.ingest(paths=csv(folder, "path", "plates/1.csv", "gs://bucket/a"))
    with pytest.raises(FileNotFoundError):
        await inhaul.ingest(paths=folder / "none.csv")
    assert await Artifact.filter().count() == 0


async def test_annotations_are_added_again_and_to_new_versions(
    annotated: Instance, database_url: str, folder: Path
) -> None:
    manifest = csv(folder, "path,description,labels,dose", "plates/0.csv,one,heart,1", "plates/1.csv,one,heart,1")
    await inhaul.ingest(paths=manifest)
    before = await query(database_url, "SELECT updated_at FROM artifact ORDER BY key")
    again = await inhaul.ingest(paths=manifest)
    assert counts(again) == {Status.UNCHANGED: 2}
    assert await query(database_url, "SELECT updated_at FROM artifact ORDER BY key") == before
    write(folder / "plates" / "1.csv", "changed")
    csv(folder, "path,description,labels,dose", "plates/0.csv,two,liver,2", "plates/1.csv,,liver,2")
    third = await inhaul.ingest(paths=manifest)
    assert counts(third) == {Status.UNCHANGED: 1, Status.NEW_VERSION: 1}
    assert await annotations("plates/0.csv") == ("two", ["heart", "liver"], {"dose": [1, 2]})
    latest = await Artifact.filter(key="plates/1.csv", is_latest=True).one()
    assert (latest.description, await latest.features.get_values()) == (None, {"dose": 2})


async def test_many_rows_and_tabs(annotated: Instance, database_url: str, folder: Path) -> None:
    rows = [f"plates/{number % 4}.csv\tk/{number}.csv\t{number}" for number in range(9000)]
    report: IngestReport = await inhaul.ingest(paths=csv(folder, "\ufeffpath\tkey\tdose", *rows))
    assert counts(report) == {Status.NEW: 9000}
    found = await query(
        database_url,
        "SELECT a.key, v.value FROM artifact a JOIN artifact_feature_value l ON l.artifact_id = a.id "
        "JOIN feature_value v ON v.id = l.feature_value_id",
    )
    assert {(row["key"], row["value"]) for row in found} == {(f"k/{n}.csv", str(n)) for n in range(9000)}


async def test_a_folder_other_than_that_of_the_manifest(annotated: Instance, database_url: str, folder: Path) -> None:
    manifest = csv(folder.parent / "elsewhere", "path", "0.csv")
    await inhaul.ingest(folder / "plates", paths=manifest)
    await inhaul.ingest(folder / "plates", "k", paths=str(manifest), run=False)
    assert set(await keys(database_url)) == {"plates/0.csv", "k/0.csv"}


def test_a_manifest_from_standard_input(folder: Path) -> None:
    csv(folder.parent, "path", "lab/plates/0.csv")
    from_file = ingest(folder.parent, "--manifest", "manifest.csv")
    assert ["new", "1"] in table(from_file)
    given = '{"path": "plates/0.csv"}\n{"path": "plates/1.csv"}\n'
    from_input = ingest(folder, "--manifest", "-", "--storage", "../.inhaul/storage", given=given)
    assert ["new", "2"] in table(from_input), from_input.stderr
    refused = ingest(folder, "--manifest", "-", given="path,dose\nplates/0.csv,1\n")
    assert refused.returncode == 2
    assert "the column 'dose' is no registered feature" in refused.stderr
    assert not (folder / ".inhaul").exists()
