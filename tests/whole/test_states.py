"""Artifacts saved, replaced, trashed, restored, deleted, cached and collected in any order, beside a plain model.

The model is a list of records in the order they were made: what each holds, and whether it is in the trash.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import inhaul
from inhaul import Artifact, gc
from inhaul.errors import KeyExists
from registries import artifacts

T = TypeVar("T")
KEYS = ("a.txt", "b.txt", "folder/c.txt")
CONTENTS = (b"", b"one", b"two", b"3" * 5)


@dataclass
class Known:
    """What the model knows of an artifact."""

    uid: str
    key: str
    content: bytes
    trashed: bool = False

    @property
    def stem(self) -> str:
        return self.uid[:16]


class Machine(RuleBasedStateMachine):
    """The model and inhaul, side by side."""

    records = Bundle("records")

    def __init__(self, root: str, url: str, folder: Path) -> None:
        super().__init__()
        self.url, self.folder = url, folder
        self.known: list[Known] = []
        self.runner = asyncio.Runner()
        self.instance = self.run(self.connected(root))
        self.root = root

    async def connected(self, root: str) -> inhaul.Instance:
        return await inhaul.connect(root, self.url)

    def teardown(self) -> None:
        self.run(self.instance.aclose())
        self.runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    async def artifact(self, one: Known) -> Artifact:
        return await Artifact.get(one.uid)

    def written(self, content: bytes) -> Path:
        path = self.folder / f"{uuid4().hex}.txt"
        path.write_bytes(content)
        return path

    def live(self, key: str) -> list[Known]:
        """Returns the artifacts of a key that are not in the trash, oldest first."""
        return [one for one in self.known if one.key == key and not one.trashed]

    @rule(target=records, key=st.sampled_from(KEYS), content=st.sampled_from(CONTENTS))
    def save(self, key: str, content: bytes) -> Any:
        async def call() -> Artifact:
            return await Artifact(self.written(content), key=key).save()

        live = self.live(key)
        trashed = {one.content for one in self.known if one.key == key and one.trashed}
        try:
            saved = self.run(call())
        except KeyExists:
            assert not live
            assert content in trashed
            return multiple()
        if live and live[-1].content == content:
            assert saved.uid == live[-1].uid
            return multiple()
        assert saved.uid not in {one.uid for one in self.known}
        if live:
            assert saved.stem_uid == live[-1].stem
        self.known.append(Known(saved.uid, key, content))
        return self.known[-1]

    @rule(one=records, content=st.sampled_from(CONTENTS))
    def replace(self, one: Known, content: bytes) -> None:
        async def call() -> None:
            await (await self.artifact(one)).replace(self.written(content))

        self.run(call())
        one.content = content

    @rule(one=records)
    def trash(self, one: Known) -> None:
        async def call() -> None:
            await (await self.artifact(one)).delete()

        if not one.trashed:
            self.run(call())
            one.trashed = True

    @rule(one=records)
    def restore(self, one: Known) -> None:
        async def call() -> None:
            await (await self.artifact(one)).restore()

        try:
            self.run(call())
        except KeyExists:
            assert one.trashed
            assert any(other.stem != one.stem for other in self.live(one.key))
        else:
            one.trashed = False

    @rule(one=consumes(records))
    def remove(self, one: Known) -> None:
        async def call() -> None:
            await (await self.artifact(one)).delete(permanent=True)

        self.run(call())
        self.known.remove(one)

    @rule(one=records)
    def cache(self, one: Known) -> None:
        async def call() -> bytes:
            return (await (await self.artifact(one)).cache()).read_bytes()

        assert self.run(call()) == one.content

    @rule()
    def collect(self) -> None:
        report = self.run(gc(delete=True, older_than=timedelta(0)))
        assert report.objects == []

    @invariant()
    def agree(self) -> None:
        rows = {row["uid"]: row for row in self.run(artifacts(self.url))}
        assert set(rows) == {one.uid for one in self.known}
        for one in self.known:
            row = rows[one.uid]
            assert (row["key"], row["size"], row["visibility"] == -1) == (one.key, len(one.content), one.trashed)
            assert one.trashed or bool(row["is_latest"]) == (one is self.live(one.key)[-1])


def test_calls_in_any_order_agree_with_the_model(root: str, tmp_path: Path) -> None:
    def machine() -> Machine:
        name = uuid4().hex[:12]
        path, _, query = root.partition("?")
        place = f"{path}/{name}?{query}" if query else f"{path}/{name}"
        return Machine(place, f"sqlite:///{tmp_path}/{name}.db", tmp_path)

    runs = 1000 if "SOAK" in os.environ else 4 if root.startswith("s3://") else 10
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs, stateful_step_count=25, phases=[Phase.generate])
    )
