"""The meaning of errors of Google Cloud Storage, by status and reason."""

import json
import re

from inhaul.stores.remote.aio import Broken
from inhaul.stores.remote.faults import Fault, Kind, coded_fault, common_fault

_CODES = {
    "authError": Kind.DENIED,
    "badDigest": Kind.DAMAGED,
    "conditionNotMet": Kind.TAKEN,
    "expired": Kind.EXPIRED,
    "noSuchBucket": Kind.NO_BUCKET,
    "orgPolicyConstraintFailed": Kind.REFUSED,  # with the status 412 of a condition
    "quotaExceeded": Kind.SLOWER,
    "rateLimitExceeded": Kind.SLOWER,
    "required": Kind.DENIED,
    "retentionPolicyNotMet": Kind.REFUSED,
    "objectUnderActiveHold": Kind.REFUSED,
    "uploadBrokenConnection": Kind.RETRY,
    "userRateLimitExceeded": Kind.SLOWER,
}
_STATUSES = {410: Kind.GONE, 499: Kind.GONE}  # an upload that is over

_REASON = re.compile(r"[A-Za-z]\w{0,59}")
_NO_BUCKET = re.compile(r"bucket does not exist", re.IGNORECASE)
_BAD_DIGEST = "doesn't match calculated"


class Failed(Exception):
    """A reply that is an error.

    Attributes:
        status: Its status.
        code: Its reason; one of ours if that is clearer.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


def failed(status: int, body: bytes) -> Failed:
    """Returns the error for a reply. Google says what is wrong partly in words only."""
    reason, message = _said(body)
    if status == 400 and _BAD_DIGEST in message:
        reason = "badDigest"
    if status == 404 and _NO_BUCKET.search(message):
        reason = "noSuchBucket"
    return Failed(status, reason)


def _said(body: bytes) -> tuple[str, str]:
    """Returns the reason and the message of an error; both empty if there are none."""
    try:
        error = json.loads(body)["error"]
        reason = (error.get("errors") or [{}])[0].get("reason", "")
        message = error.get("message", "")
    except (ValueError, LookupError, TypeError, AttributeError):  # some errors are a plain text
        return "", ""
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else "", str(message)


def classify(error: Exception) -> Fault:
    """Returns the meaning of an error of our requests, or of google-auth. Unknown errors are treated as temporary."""
    if isinstance(error, Failed):
        return reply_fault(error.code, error.status)
    if isinstance(error, Broken):
        fault = common_fault(error, reply_fault)
        return fault if fault.kind is Kind.UNTRUSTED else fault._replace(code=error.reason)
    if type(error).__module__.startswith("google.auth"):
        return _token_fault(error)
    return common_fault(error, reply_fault)


def reply_fault(code: str, status: int | None = None) -> Fault:
    """Classifies a reply by the reason that the server gives, or by the status."""
    known = {"": _STATUSES[status]} if status in _STATUSES else {}
    fault = coded_fault({**_CODES, **known}, "" if known else code, status)
    return fault._replace(code=code or "without a reason")


def _token_fault(error: Exception) -> Fault:
    """Classifies a failure to get a token. Its text may hold secrets."""
    name = type(error).__name__
    if "reasonable timeframe" in str(error):
        return Fault(Kind.SKEWED, None, name)
    if name == "TransportError" or getattr(error, "retryable", False):
        return Fault(Kind.RETRY, None, name)
    return Fault(Kind.DENIED, None, name)
