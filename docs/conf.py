"""How the documentation is built: `make docs`."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

project = "inhaul"
copyright = "the inhaul developers"
version = release = version_of("inhaul")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "inhaul"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # else the fields of named tuples are described twice

# The tutorials run when the documentation is built; one that fails, fails the build.
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True

# For the kernels, and the commands that they run.
os.environ |= {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": str(Path(__file__).parent),
    "INHAUL_USER": "ada",
    "COLUMNS": "100",
    "NO_COLOR": "1",
}
