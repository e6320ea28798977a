"""How Sphinx builds this documentation: `make docs`."""

import atexit
import os
import re
import shutil
import sys
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path

import typer
from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from typer.cli import get_docs_for_click

from inhaul.cli import app as command_line

project = "inhaul"
copyright = "the inhaul authors"
version = release = version_of("inhaul")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code-or-object"

html_theme = "furo"
html_title = f"inhaul {version}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# A tutorial is a test, too: it runs whenever it is built, whatever has changed, and may not fail.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 60
nb_execution_in_temp = True
nb_merge_streams = True

add_module_names = False
autoclass_content = "class"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # as directives of their own, attributes would be there twice
python_use_unqualified_type_names = True

_HERE = Path(__file__).parent
_COMMANDS = "reference/command-line"


def setup(app: Sphinx) -> None:
    """Adds what no extension has."""
    _prepare_kernels()
    app.add_role("code-or-object", _CodeOrObject())
    app.connect("source-read", _add_commands)
    app.connect("autodoc-skip-member", _skip_member)


class _CodeOrObject(PyXRefRole):
    """What single backticks are in docstrings: a link if it names something documented, else code as it is."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*(\(\))?", self.text):
            return [nodes.literal(self.rawtext, self.text)], []
        self.name = "py:obj"
        return super().run()


def _add_commands(app: Sphinx, docname: str, source: list[str]) -> None:
    """Writes the reference of the command line, which is what `--help` says."""
    if docname == _COMMANDS:
        command = typer.main.get_command(command_line)
        text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="inhaul")
        source[0] += text[text.index("## ") :]  # the page has its own introduction


def _skip_member(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leaves out what Python says of the fields of named tuples; their classes say more."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def _prepare_kernels() -> None:
    """Gives the tutorials an environment that depends on nothing of who builds them, and leaves nothing behind."""
    folder = tempfile.mkdtemp(prefix="inhaul-docs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in list(os.environ):
        if name.startswith(("AWS_", "INHAUL_")):
            del os.environ[name]
    os.environ |= {
        "INHAUL_CACHE_DIR": f"{folder}/cache",
        "INHAUL_USER": "ada",
        "IPYTHONDIR": f"{folder}/ipython",
        "JUPYTER_RUNTIME_DIR": f"{folder}/jupyter",
        # `inhaul` is called in a tutorial, also where its environment is not activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(_HERE.parent / "tests" / "support"),  # for the S3 server of the tests
    }
