"""The meaning of errors of huggingface_hub."""

from inhaul.stores.remote import web
from inhaul.stores.remote.faults import Fault, Kind, coded_fault

_CODES = {
    "BucketNotFoundError": Kind.NO_BUCKET,
    "DisabledRepoError": Kind.DENIED,
    "GatedRepoError": Kind.DENIED,
    "HFValidationError": Kind.NO_BUCKET,
    "OfflineModeIsEnabled": Kind.REFUSED,
    "RemoteEntryNotFoundError": Kind.GONE,
    "RepositoryNotFoundError": Kind.NO_BUCKET,
    "RevisionNotFoundError": Kind.NO_BUCKET,
}


class NotThere(Exception):
    """There is no such file."""


def classify(error: Exception) -> Fault:
    """Returns the meaning of an error of the Hub. Its text is not used: it quotes the request."""
    if isinstance(error, NotThere):
        return Fault(Kind.GONE, None, "no such file")
    if not type(error).__module__.startswith("huggingface_hub"):
        return web.classify(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    return coded_fault(_CODES, type(error).__name__, status)
