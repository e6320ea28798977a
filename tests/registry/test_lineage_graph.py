"""The graph of a lineage: its nodes, its edges, and its picture."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

import inhaul
from inhaul import Artifact, Run, Transform
from inhaul.db import tables
from inhaul.registry.lineage.graph import Lineage, _drawn
from trees import text_file


class Steps(NamedTuple):
    """Two runs, and the artifacts before, between and after them."""

    raw: Artifact
    cleaning: Run
    clean: Artifact
    plotting: Run
    plot: Artifact


@pytest.fixture
async def steps(instance: inhaul.Instance, tmp_path: Path) -> Steps:
    raw = await Artifact(text_file(tmp_path, "raw.txt"), key='raw "x".txt').save()
    first = await inhaul.track(Transform("clean", type="pipeline"))
    await raw.load()
    clean = await Artifact(text_file(tmp_path, "clean.txt"), key="clean.txt").save()
    await Artifact(text_file(tmp_path, "aside.txt"), key="aside.txt").save()
    second = await inhaul.track(Transform("plot", type="notebook"))
    await clean.load()
    plot = await Artifact(text_file(tmp_path, "plot.txt"), key="plot.txt").save()
    return Steps(raw, first, clean, second, plot)


async def test_the_graph_has_what_led_to_an_artifact_and_what_came_of_it(steps: Steps) -> None:
    graph = await steps.clean.view_lineage()
    names = {node: label.splitlines()[0] for node, label in graph.labels.items()}
    assert set(names.values()) == {'raw "x".txt', "clean.txt", "plot.txt", "clean", "plot"}
    assert {(names[start], names[end]) for start, end in graph.edges} == {
        ('raw "x".txt', "clean"),
        ("clean", "clean.txt"),
        ("clean.txt", "plot"),
        ("plot", "plot.txt"),
    }
    artifacts = (steps.raw, steps.clean, steps.plot)
    assert {names[f"a{one.id}"] for one in artifacts} == {one.key for one in artifacts}


async def test_a_graph_is_drawn_by_mermaid_and_graphviz(steps: Steps) -> None:
    raw, first, _, second, plot = steps
    graph = await steps.clean.view_lineage()
    lines = str(graph).splitlines()
    assert lines[0] == "flowchart LR"
    assert f'    a{raw.id}["raw &quot;x&quot;.txt"]' in lines
    assert f"    a{raw.id} --> r{first.id}" in lines
    assert f'    a{raw.id} [label="raw \\"x\\".txt" shape=box]' in graph.graphviz.splitlines()
    assert f"    r{second.id} -> a{plot.id}" in graph.graphviz.splitlines()
    assert graph._repr_mimebundle_()["text/vnd.mermaid"] == str(graph)


async def test_a_large_graph_is_cut_and_says_so(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inhaul.registry.lineage.graph._MOST", 3)
    cut = await steps.clean.view_lineage()
    assert len(cut.labels) == 3
    assert not cut.complete
    assert "more was left out" in str(cut)


async def test_what_is_not_saved_has_no_graph(instance: inhaul.Instance, tmp_path: Path) -> None:
    text_file(tmp_path, "raw.txt")
    with pytest.raises(ValueError, match="not saved"):
        await Artifact(tmp_path / "raw.txt", key="x.txt").view_lineage()


async def test_the_graph_has_every_edge_between_its_nodes(instance: inhaul.Instance, tmp_path: Path) -> None:
    for number in range(100):
        text_file(tmp_path, f"{number}.txt")
    inputs = await Artifact.from_dir(tmp_path, exclude=["storage"]).save()
    runs = []
    for _ in range(3):  # each uses all of them, so the edges are more than the most nodes of a graph
        runs.append(await inhaul.track(Transform("combine", type="pipeline")))
        for artifact in inputs:
            await artifact.cache()
    graph = await (await Artifact(text_file(tmp_path, "combined.txt")).save()).view_lineage()
    assert graph.complete
    assert len(graph.edges) == 101
    graph = await inputs[0].view_lineage()
    assert graph.edges == {(f"a{inputs[0].id}", f"r{run.id}") for run in runs} | {(f"r{runs[2].id}", "a101")}
    await Artifact(text_file(tmp_path, "combined.txt")).save()  # again, so the last run is a previous one
    async with instance.database.write() as conn:
        await conn.execute(tables.artifact_previous_run.insert(), [{"artifact_id": 101, "run_id": 1}])
    graph = await (await Artifact.filter(id=101).one()).view_lineage()
    assert (len(graph.labels), len(graph.edges), graph.complete) == (103, 202, True)


def test_a_picture_that_graphviz_does_not_draw_is_a_warning() -> None:
    false = shutil.which("false")
    assert false is not None
    with pytest.warns(UserWarning, match="false did not draw the lineage"):
        assert _drawn(false, "digraph {}") is None


def test_a_picture_is_shown_where_there_is_one() -> None:
    assert "image/svg+xml" not in Lineage("a1", {"a1": "x"})._repr_mimebundle_()
    assert Lineage("a1", {"a1": "x"}, svg="<svg/>")._repr_mimebundle_()["image/svg+xml"] == "<svg/>"
