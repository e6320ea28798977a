"""What records tell about themselves, and tables with columns of others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import inhaul
import inhaul.sync as ln
from inhaul import Artifact, Collection, Feature, Run, Transform, ULabel
from inhaul.errors import UnknownField
from trees import write


@pytest.fixture
async def artifacts(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Artifact]]:
    monkeypatch.setattr(inhaul.settings, "user", "ada")
    async with inhaul.connect(storage=tmp_path / "storage", db=database_url):
        run = await Run(Transform("import")).save()
        made = [
            await Artifact(write(tmp_path / "a.csv", "a\n1"), key="in/a.csv", description="<first>", run=run).save(),
            await Artifact(write(tmp_path / "b.csv", "b\n2"), key="in/b.csv").save(),
        ]
        labels = [await ULabel(f"label {number}").save() for number in range(12)]
        await made[0].labels.add(labels)
        await Feature("temperature", dtype="float").save()
        await made[0].features.add_values({"temperature": [20.5, 21.5]})
        yield made


async def test_an_artifact_tells_its_fields_values_and_links(artifacts: list[Artifact]) -> None:
    told = dict((await artifacts[0].describe()).sections)
    assert list(told) == ["Artifact", "From", "Features", "Linked"]
    assert told["Artifact"]["key"] == "in/a.csv"
    assert told["Artifact"]["size"] == "3"
    assert told["Artifact"]["visibility"] == "default"
    assert told["From"]["created_by"] == "ada"
    assert told["From"]["storage"].endswith("/storage")
    assert told["Features"] == {"temperature": "20.5, 21.5"}
    assert list(told["Linked"]) == ["ulabels"]
    assert told["Linked"]["ulabels"].startswith("label 0, label 1, ")
    assert told["Linked"]["ulabels"].endswith("label 9, ...")


async def test_a_description_is_shown_as_text_and_in_notebooks(artifacts: list[Artifact]) -> None:
    description = await artifacts[0].describe()
    assert "  temperature  20.5, 21.5" in str(description)
    assert "<first>" in str(description)
    assert "&lt;first&gt;" in description._repr_html_()


async def test_a_section_about_nothing_is_left_out(artifacts: list[Artifact]) -> None:
    assert [title for title, _ in (await artifacts[1].describe()).sections] == ["Artifact", "From"]


async def test_what_is_not_saved_is_not_described(artifacts: list[Artifact]) -> None:
    with pytest.raises(ValueError, match="not saved"):
        await Artifact(artifacts[0].path).describe()


async def test_a_collection_describes_itself(artifacts: list[Artifact]) -> None:
    collection = await Collection(artifacts, name="both").save()
    told = dict((await collection.describe()).sections)
    assert told["Collection"]["name"] == "both"
    assert told["Linked"]["artifacts"] == "in/a.csv, in/b.csv"


async def test_tables_include_columns_of_related_records(artifacts: list[Artifact]) -> None:
    paths = ["created_by__handle", "run__transform__name", "transform__name", "storage", "ulabels__name"]
    table = await Artifact.filter().order_by("-key").df(include=paths)
    assert table["key"].tolist() == ["in/b.csv", "in/a.csv"]
    assert table["created_by__handle"].tolist() == ["ada", "ada"]
    for names in (table["run__transform__name"], table["transform__name"]):
        assert [None if missing else name for name, missing in zip(names, names.isna(), strict=True)] == [
            None,
            "import",
        ]
    assert [Path(root).name for root in table["storage"]] == ["storage", "storage"]
    assert table["ulabels__name"].tolist() == [[], sorted(f"label {number}" for number in range(12))]
    assert (await Artifact.filter(key="in/a.csv").df(include="ulabels"))["ulabels"].tolist()[0][0] == "label 0"
    assert "ulabels" not in (await Artifact.filter().df()).columns
    deep = await ULabel.filter(name="label 0").df(include="artifacts__created_by__handle")
    assert deep["artifacts__created_by__handle"].tolist() == [["ada"]]


async def test_members_of_collections_stay_in_their_order(artifacts: list[Artifact]) -> None:
    await Collection(artifacts, name="first").save()
    await Collection(artifacts[::-1], name="second").save()
    table = await Collection.filter().df(include=["artifacts", "artifacts__created_by__handle"])
    assert table["artifacts"].tolist() == [["in/a.csv", "in/b.csv"], ["in/b.csv", "in/a.csv"]]
    assert table["artifacts__created_by__handle"].tolist() == [["ada", "ada"]] * 2
    deep = await Collection.filter().df(include="artifacts__ulabels")
    assert deep["artifacts__ulabels"].tolist() == [sorted(f"label {number}" for number in range(12))] * 2


async def test_columns_of_their_own_are_there_once(artifacts: list[Artifact]) -> None:
    table = await Artifact.filter().df(include=["id", "key", "created_by_id", "storage__type", "storage__type"])
    assert table.columns.tolist() == [*(await Artifact.filter().df()).columns, "storage__type"]
    assert table["key"].tolist() == ["in/a.csv", "in/b.csv"]


@pytest.mark.parametrize("path", ["nothing", "run__nothing", "key__name", ""])
async def test_columns_that_do_not_exist_are_refused(artifacts: list[Artifact], path: str) -> None:
    with pytest.raises(UnknownField, match="to include"):
        await Artifact.filter().df(include=path)


async def test_a_list_is_a_table_in_a_notebook(tmp_path: Path) -> None:
    for number in range(7):
        write(tmp_path / f"in/{number}<b>.txt", "x" * number)
    async with inhaul.connect(storage=tmp_path / "storage"):
        artifacts = Artifact.from_dir(tmp_path / "in")
        assert "not staged" in artifacts._repr_html_()
        await artifacts.save()
        shown = artifacts._repr_html_()
        assert shown.count("<tr>") == 1 + 5
        assert "<td>in/0&lt;b&gt;.txt</td><td>0</td>" in shown
        assert "2 more" in shown


def test_the_blocking_twin_describes_records(tmp_path: Path) -> None:
    with ln.connect(storage=tmp_path / "storage"):
        artifact = ln.Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        assert "a.txt" in str(artifact.describe())
        assert ln.Artifact.filter().df(include="created_by__handle")["created_by__handle"].notna().all()
