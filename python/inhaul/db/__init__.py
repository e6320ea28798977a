"""The registry database: its tables, the engine, and bulk statements."""

import gc
from importlib import import_module

_YOUNG = 23_000  # objects; 19,400 are there in a script that imports inhaul first, 26,500 in one with NumPy or IPython


def _import_sqlalchemy() -> None:
    """Imports SQLAlchemy, and exempts its 60,000 objects from the garbage collector in a process that has just begun.

    They live as long as the process, and short jobs spent a quarter of their time on looking for garbage among them.
    `gc.freeze` exempts all objects that are there, so a process that may already hold data of its user goes without.
    """
    if len(gc.get_objects()) > _YOUNG or not gc.isenabled():
        return
    gc.disable()
    try:
        import_module("sqlalchemy.ext.asyncio")
    finally:
        gc.freeze()
        gc.enable()


_import_sqlalchemy()
