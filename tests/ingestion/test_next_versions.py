"""Version numbers, and sessions that outlive a crash."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhaul.ingestion.journal import Session
from inhaul.ingestion.versions import next_version


@pytest.mark.parametrize(
    ("versions", "following"),
    [
        ([None], "2"),
        (["1"], "2"),
        (["1", "2", "10"], "11"),
        (["1.9.3", "2024-01"], "2"),
        (["draft", "3.1"], "4"),
        (["0"], "1"),
    ],
)
def test_the_next_version_follows_the_highest_one(versions: list[str | None], following: str) -> None:
    assert next_version(versions) == following


@pytest.mark.parametrize("versions", [["draft"], ["v1", ""], ["²"], []])
def test_words_have_no_next_version(versions: list[str]) -> None:
    with pytest.raises(ValueError, match="pass version="):
        next_version(versions)


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_next_version_is_above_all(majors: list[int]) -> None:
    assert int(next_version(str(major) for major in majors)) == max(majors) + 1


def test_a_crashed_session_is_taken_up_and_a_running_one_is_not(tmp_path: Path) -> None:
    first = Session.find(tmp_path, "folder", "root", "key")
    assert not first.resumed
    assert list(tmp_path.iterdir()) == []
    first.begin()

    beside = Session.find(tmp_path, "folder", "root", "key")
    assert not beside.resumed
    assert beside.salt != first.salt

    first.release()  # as the end of its process would
    second = Session.find(tmp_path, "folder", "root", "key")
    assert second.resumed
    assert (second.salt, second.started) == (first.salt, first.started)
    assert not Session.find(tmp_path, "folder", "root", "other key").resumed

    second.end()
    assert not Session.find(tmp_path, "folder", "root", "key").resumed
    assert list((tmp_path / "sessions").iterdir()) == []


def test_a_renewed_session_has_another_salt(tmp_path: Path) -> None:
    first = Session.find(tmp_path, "folder")
    first.begin()
    first.release()
    second = Session.find(tmp_path, "folder")
    second.renew()
    assert not second.resumed
    assert second.salt != first.salt
    second.begin()
    second.end()
    assert list((tmp_path / "sessions").iterdir()) == []


def test_a_session_is_on_disk_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda descriptor: (synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink())), fsync(descriptor)),
    )
    session = Session.find(tmp_path, "folder")
    session.begin()
    assert len(synced) == 2
    assert synced[0].endswith(".json")
    assert synced[1] == str(tmp_path / "sessions")
    session.end()
