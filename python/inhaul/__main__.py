"""`python -m inhaul` is the command line."""

from inhaul.cli import app

if __name__ == "__main__":
    app(prog_name="inhaul")
