"""The meaning of errors of the Azure clients, by type, status and code."""

import os
import re

from inhaul.stores.azure.puts import Failed
from inhaul.stores.remote.aio import Broken
from inhaul.stores.remote.faults import Fault, Kind, coded_fault, common_fault

_CODES = {
    "ServerBusy": Kind.SLOWER,
    "TooManyRequests": Kind.SLOWER,
    "OperationTimedOut": Kind.RETRY,
    "InternalError": Kind.RETRY,
    "SystemInUse": Kind.RETRY,
    "AccountBeingCreated": Kind.RETRY,
    "Md5Mismatch": Kind.DAMAGED,
    "InvalidMd5": Kind.DAMAGED,
    "InvalidXmlDocument": Kind.DAMAGED,
    "InvalidAuthenticationInfo": Kind.EXPIRED,
    "BlobNotFound": Kind.GONE,
    "ResourceNotFound": Kind.GONE,
    "InvalidBlockList": Kind.GONE,  # blocks that were not committed are no longer there
    "ContainerNotFound": Kind.NO_BUCKET,
    "ContainerBeingDeleted": Kind.NO_BUCKET,
    "BlobAlreadyExists": Kind.TAKEN,
    "ConditionNotMet": Kind.TAKEN,
    "UnauthorizedBlobOverwrite": Kind.TAKEN,  # a SAS may permit to create blobs, but not to replace them
    "PublicAccessNotPermitted": Kind.DENIED,
    "LeaseIdMissing": Kind.REFUSED,  # its status is that of a condition
    "LeaseIdMismatchWithBlobOperation": Kind.REFUSED,
    "LeaseLost": Kind.REFUSED,
}

_EXPLAINED = {
    "InvalidBlobOrBlock": "another program has begun to upload this blob in blocks: let it finish, or wait a week",
    "LeaseIdMissing": "another program holds a lease on the blob",
    "SnapshotsPresent": "the blob has snapshots: delete them first",
    "BlobArchived": "the blob is archived: rehydrate it first",
    "BlobImmutableDueToPolicy": "a policy keeps the blob",
}

_DATE = re.compile(r"(?i)\bdate header\b")
_MD5_OF_REPLY = "MD5 mismatch."  # as azure-storage-blob says it


class Folder(Exception):
    """There is a folder, but no blob; only accounts with a hierarchical namespace have folders."""


def classify(error: Exception) -> Fault:
    """Returns the meaning of an error of `Puts`, azure-storage-blob, azure-identity or obstore.

    Unknown errors are treated as temporary.
    """
    if isinstance(error, Folder):
        return Fault(Kind.GONE, None, "a folder")
    if isinstance(error, Failed):
        return _reply(error.status, error.code, error.message)
    if isinstance(error, Broken):
        fault = common_fault(error, reply_fault)
        return fault if fault.kind is Kind.UNTRUSTED else fault._replace(code=error.reason)
    if not type(error).__module__.startswith("azure."):
        return common_fault(error, reply_fault)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        code = getattr(error, "error_code", None) or ""
        text = f"{getattr(error, 'message', '')} {getattr(error, 'additional_info', '')}"
        return _reply(status, str(getattr(code, "value", code)), text)
    name = type(error).__name__
    if name in ("ClientAuthenticationError", "CredentialUnavailableError", "AzureSigningError"):
        return Fault(Kind.DENIED, None, "no credentials")
    if str(error).startswith(_MD5_OF_REPLY):
        return Fault(Kind.DAMAGED, None, "damaged on its way")
    fault = common_fault(error, reply_fault)
    return fault if fault.kind is Kind.UNTRUSTED else fault._replace(code=_cause(error))


def _reply(status: int, code: str, message: str) -> Fault:
    if code == "AuthenticationFailed" and _DATE.search(message):
        return Fault(Kind.SKEWED, status, code)
    return reply_fault(code, status)


def reply_fault(code: str, status: int | None = None) -> Fault:
    """Classifies a reply by the code of the service, or by the status if it has no code."""
    if not code or code == "None":
        return coded_fault({}, "without a code", status)
    fault = coded_fault(_CODES, code, status)
    if status == 409 and code not in _CODES:  # a conflict that no time resolves
        fault = fault._replace(kind=Kind.REFUSED)
    return fault._replace(code=f"{code}: {_EXPLAINED[code]}") if code in _EXPLAINED else fault


def _cause(error: Exception) -> str:
    """Returns the reason that there was no reply: the text of the system, else the name of the error."""
    inner = getattr(error, "inner_exception", None) or error
    system = getattr(inner, "os_error", inner)
    number, text = getattr(system, "errno", None), getattr(system, "strerror", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)  # the text of asyncio names the address
    return text if isinstance(text, str) and text else type(inner).__name__
