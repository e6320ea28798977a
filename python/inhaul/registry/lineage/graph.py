"""The lineage of an artifact: runs and artifacts as a graph."""

import asyncio
import shutil
import subprocess
import sys
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, CompoundSelect, Select, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import tables
from inhaul.db.membership import is_in
from inhaul.instance import Instance

_MOST = 200  # nodes of a graph; a larger graph is unreadable
_PATIENCE = 30  # seconds for graphviz

_artifact, _run, _transform = tables.artifact, tables.run, tables.transform
_input, _previous = tables.artifact_input_of, tables.artifact_previous_run


@dataclass
class Lineage:
    """The graph of an artifact: `str()` gives Mermaid text, and a notebook shows a picture.

    Attributes:
        labels: The label of each node: `a1` is the artifact with the id 1, `r1` the run with the id 1.
        edges: From a run to the artifacts it created, and from an artifact to the runs that used it.
        focus: The node of the artifact itself.
        complete: False if nodes were left out, because a graph has at most 200.
        svg: The picture, if IPython runs and graphviz can draw it; otherwise None.
    """

    focus: str
    labels: dict[str, str] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)
    complete: bool = True
    svg: str | None = None

    def __str__(self) -> str:
        return self.mermaid

    @property
    def mermaid(self) -> str:
        """The graph as Mermaid text."""
        lines = ["flowchart LR"]
        for node, label in self.labels.items():
            text = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\n", "<br/>")
            lines.append(f'    {node}["{text}"]' if node.startswith("a") else f'    {node}(["{text}"])')
        lines += [f"    {start} --> {end}" for start, end in self._sorted()]
        lines.append(f"    style {self.focus} stroke-width:3px")
        lines += [] if self.complete else ['    more["more was left out"]']
        return "\n".join(lines)

    @property
    def graphviz(self) -> str:
        """The graph in the DOT language of graphviz."""
        lines = ["digraph {", "    rankdir=LR"]
        for node, label in self.labels.items():
            text = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            style = " penwidth=3" if node == self.focus else ""
            lines.append(f'    {node} [label="{text}" shape={"box" if node.startswith("a") else "oval"}{style}]')
        lines += [f"    {start} -> {end}" for start, end in self._sorted()]
        lines += [] if self.complete else ['    more [label="more was left out" shape=plain]']
        return "\n".join([*lines, "}"])

    def _sorted(self) -> list[tuple[str, str]]:
        places = {node: place for place, node in enumerate(self.labels)}
        return sorted(self.edges, key=lambda edge: (places[edge[0]], places[edge[1]]))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        shown = {"text/plain": self.mermaid, "text/vnd.mermaid": self.mermaid}
        return shown | ({"image/svg+xml": self.svg} if self.svg is not None else {})


async def trace(instance: Instance, id: int) -> Lineage:
    """Returns the graph of an artifact: everything it was created from, and everything created from it."""
    graph = Lineage(focus=f"a{id}")
    async with instance.database.read() as conn:
        await _add(conn, graph, "a", select(_artifact.c.id).where(_artifact.c.id == id))
        await _upstream(conn, graph, [id])
        await _downstream(conn, graph, [id])
        graph.edges = await _edges(conn, graph)
    if "IPython" in sys.modules and (dot := shutil.which("dot")):
        graph.svg = await asyncio.to_thread(_drawn, dot, graph.graphviz)
    return graph


async def _upstream(conn: AsyncConnection, graph: Lineage, artifacts: list[int]) -> None:
    while artifacts:
        creators = union(
            select(_artifact.c.run_id).where(is_in(_artifact.c.id, artifacts), _artifact.c.run_id.is_not(None)),
            select(_previous.c.run_id).where(is_in(_previous.c.artifact_id, artifacts)),
        )
        runs = await _add(conn, graph, "r", creators)
        artifacts = await _add(conn, graph, "a", select(_input.c.artifact_id).where(is_in(_input.c.run_id, runs)))


async def _downstream(conn: AsyncConnection, graph: Lineage, artifacts: list[int]) -> None:
    while artifacts:
        runs = await _add(conn, graph, "r", select(_input.c.run_id).where(is_in(_input.c.artifact_id, artifacts)))
        artifacts = await _add(conn, graph, "a", select(_artifact.c.id).where(is_in(_artifact.c.run_id, runs)))


async def _add(conn: AsyncConnection, graph: Lineage, kind: str, query: Select[Any] | CompoundSelect[Any]) -> list[int]:
    """Adds the nodes that a query finds and the graph has not, while there is room. Returns their ids."""
    (id,) = query.subquery().c
    room = _MOST - len(graph.labels)
    new = select(id).where(~is_in(id, _ids(graph, kind))).distinct().order_by(id).limit(room + 1)
    ids = [*await conn.scalars(new)]
    graph.complete = graph.complete and len(ids) <= room
    ids = ids[:room]
    labels = await (_artifact_labels(conn, ids) if kind == "a" else _run_labels(conn, ids))
    graph.labels |= {f"{kind}{id}": labels[id] for id in ids}
    return ids


async def _edges(conn: AsyncConnection, graph: Lineage) -> set[tuple[str, str]]:
    """Returns all edges between the nodes."""
    artifacts, runs = _ids(graph, "a"), _ids(graph, "r")
    used = await _pairs(conn, _input.c.artifact_id, _input.c.run_id, artifacts, runs)
    created = await _pairs(conn, _artifact.c.id, _artifact.c.run_id, artifacts, runs)
    created += await _pairs(conn, _previous.c.artifact_id, _previous.c.run_id, artifacts, runs)
    return {(f"a{id}", f"r{run}") for id, run in used} | {(f"r{run}", f"a{id}") for id, run in created}


async def _pairs(
    conn: AsyncConnection, artifact: Column[int], run: Column[int], artifacts: list[int], runs: list[int]
) -> list[tuple[int, int]]:
    found = await conn.execute(select(artifact, run).where(is_in(artifact, artifacts), is_in(run, runs)))
    return [(id, run_id) for id, run_id in found]


def _ids(graph: Lineage, kind: str) -> list[int]:
    return [int(node[1:]) for node in graph.labels if node.startswith(kind)]


async def _artifact_labels(conn: AsyncConnection, ids: Collection[int]) -> dict[int, str]:
    columns = (_artifact.c.id, _artifact.c.key, _artifact.c.description, _artifact.c.uid, _artifact.c.version)
    found = await conn.execute(select(*columns).where(is_in(_artifact.c.id, ids)))
    return {
        id: (key or description or uid) + (f"\nversion {version}" if version else "")
        for id, key, description, uid, version in found
    }


async def _run_labels(conn: AsyncConnection, ids: Collection[int]) -> dict[int, str]:
    query = select(_run.c.id, _transform.c.name, _run.c.started_at)
    query = query.join(_transform, _transform.c.id == _run.c.transform_id).where(is_in(_run.c.id, ids))
    found = await conn.execute(query)
    return {id: f"{name}\n{started:%Y-%m-%d %H:%M}" for id, name, started in found}


def _drawn(dot: str, text: str) -> str | None:
    """Returns the picture; warns and returns None if graphviz cannot draw it."""
    try:
        done = subprocess.run(  # noqa: S603 - graphviz, with a graph whose labels are quoted
            [dot, "-Tsvg"], input=text, capture_output=True, text=True, check=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError) as error:
        warnings.warn(f"{dot} did not draw the lineage, which is shown as text: {error}", stacklevel=2)
        return None
    return done.stdout
