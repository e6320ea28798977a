"""`inhaul watch`, and the blocking `watch`."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

import inhaul.sync as ih
from commands import COMMAND, inhaul
from watched import latest, watcher


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_command_within_two_seconds(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (folder / "x.txt").write_text("x")
    with watcher(folder, tmp_path / "storage") as child:
        assert child.stdout
        report = json.loads(child.stdout.readline())
        start = time.monotonic()
        child.send_signal(number)
        output, errors = child.communicate()
        assert (child.returncode, output, errors) == (0, "", "")
        assert time.monotonic() - start < 2
    assert (report["event"], report["files"], report["new"], report["failed"]) == ("report", 1, 1, 0)


async def test_a_signal_during_a_round_loses_nothing(folder: Path, tmp_path: Path) -> None:
    for number in range(20):
        with (folder / f"{number}.bin").open("wb") as file:
            file.truncate(32 << 20)
    with watcher(folder, tmp_path / "storage") as child:
        while child.poll() is None and not [*(tmp_path / "storage").glob(".inhaul/?/*")]:
            time.sleep(0.01)
        start = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.communicate() == ("", "")
        assert (child.returncode, time.monotonic() - start < 2) == (0, True)
    with watcher(folder, tmp_path / "storage") as child:
        assert child.stdout
        assert json.loads(child.stdout.readline())["new"] == 20
    assert len(await latest(tmp_path / "storage")) == 20


async def test_a_line_for_each_round_and_one_for_each_failure(folder: Path, tmp_path: Path) -> None:
    (folder / "x.txt").write_text("x")
    (folder / "a\\b").write_text("x")
    command = [COMMAND, "watch", folder, "--storage", tmp_path / "storage"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline().startswith("1 new: 1 byte in ")
        child.terminate()
        _, errors = child.communicate()
    assert errors.startswith(f"invalid_key: {folder}/a\\b: ")


async def test_wrong_options_are_refused_at_once(folder: Path, tmp_path: Path) -> None:
    for options in (["--when-exists", "Done.txt"], ["--settle", "-1"], ["--exclude", ""], ["--key", "../x"]):
        done = inhaul("watch", folder, *options, "--storage", tmp_path / "storage")
        assert (done.returncode, done.stdout) == (2, "")
    assert inhaul("watch", tmp_path / "none", "--storage", tmp_path / "storage").returncode == 2


def test_the_blocking_iterator_yields_each_report_at_once(folder: Path, blocking_instance: ih.Instance) -> None:
    (folder / "0.txt").write_text("0")
    reports = ih.watch(folder)
    assert next(reports).counts["new"] == 1
    (folder / "1.txt").write_text("1")
    assert next(reports).counts["new"] == 1
    assert ih.Artifact.filter().count() == 2
    with pytest.raises(TypeError):
        ih.watch(folder, settle="x")
