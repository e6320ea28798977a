"""Notebooks: a real kernel, whose loop runs while cells call either API."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

_CELLS = (
    """
import inhaul
import inhaul.sync as ih
ih.connect("root")
report = ih.ingest("data")
print(report.files)
""",
    """
import asyncio
loop = asyncio.get_running_loop()  # the kernel's, so the blocking calls are made where a loop runs
print(ih.Artifact.objects.count(), len(ih.Artifact.from_dir("data")))
""",
    """
print(await inhaul.Artifact.objects.count())
found = [artifact.key async for artifact in inhaul.Artifact.objects]
print(found == [artifact.key for artifact in ih.Artifact.objects])
""",
    """
async with inhaul.connect("other"):
    print((await inhaul.ingest("data")).files, ih.Artifact.objects.count())
""",
    """
import threading
counts = []
thread = threading.Thread(target=lambda: counts.append(ih.Artifact.objects.count()))
thread.start()
thread.join()
thread = threading.Thread(target=lambda: counts.append(asyncio.run(inhaul.Artifact.objects.count())))
thread.start()
thread.join()
print(counts)
""",
    """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from inhaul.errors import WrongThread
here, there = os.pipe()
child = os.fork()
if child == 0:
    try:
        ih.Artifact.objects.count()
    except WrongThread as error:
        os.write(there, str(error).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(here, 1000).decode())
""",
    """
def call_back(event):
    ih.Artifact.objects.count()

try:
    ih.ingest("data", on_event=call_back)
except WrongThread as error:
    print(error)
print(ih.Artifact.objects.count())
""",
)


@pytest.fixture
def _kernel_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.mark.usefixtures("_kernel_of_its_own")
@pytest.mark.filterwarnings("default::DeprecationWarning:jupyter_client")
def test_both_apis_work_in_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(20):
        (tmp_path / "data" / f"{number}.txt").write_text(str(number))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in _CELLS])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [
        "".join(output.text for output in cell.outputs if output.get("name") == "stdout").strip()
        for cell in notebook.cells
    ]
    assert printed[:5] == ["20", "20 20", "20\nTrue", "20 20", "[20, 20]"]
    assert "get_context('spawn')" in printed[5]
    assert "call the async API there" in printed[6]
    assert printed[6].endswith("\n20")
    bar = "".join(output.text for output in notebook.cells[0].outputs if output.get("name") == "stderr")
    assert "20/20" in bar
