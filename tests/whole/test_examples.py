"""The examples of the API's page run as they are printed."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inhaul.sync
from inhaul import datasets
from s3_servers import S3Server

BUCKETS = ("my-bucket", "lamindb-ci")


@pytest.fixture
def cloud(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A server with the files of the examples; the environment has its address and credentials."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    for name in BUCKETS:
        s3_server.client.create_bucket(Bucket=name)
    datasets.anndata_pbmc68k_reduced().write_h5ad(tmp_path / "pbmc68k.h5ad")
    s3_server.client.put_object(Bucket="my-bucket", Key="my-folder/my-file.csv", Body=b"a,b\n1,2\n")
    s3_server.client.upload_file(tmp_path / "pbmc68k.h5ad", "lamindb-ci", "lndb-storage/pbmc68k.h5ad")
    return s3_server


def _picture(path: str) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)


def _edit(path: str) -> None:
    Image.fromarray(np.full((5, 5, 3), 200, np.uint8)).save(path)


@pytest.mark.usefixtures("cloud")
@pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata")
def test_examples_of_the_page_run_as_printed(tmp_path: Path) -> None:
    for name in ("my_file.jpg", "paradisi05_laminopathic_nuclei.jpg"):
        _picture(name)
    Path("myfile.csv").write_text("a,b\n1,2\n")
    text = (Path(__file__).parents[1] / "examples.txt").read_text()
    examples = doctest.DocTestParser().get_doctest(text, {"edit": _edit}, "examples", "examples.txt", 0)
    report: list[str] = []
    with inhaul.sync.connect(tmp_path / "root"):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(examples, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
