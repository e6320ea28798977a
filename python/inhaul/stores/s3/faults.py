"""The meaning of errors of the S3 clients, by type, status and code."""

from typing import TYPE_CHECKING, Any

from inhaul.stores.remote.faults import Fault, Kind, coded_fault, common_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODES = {
    "SlowDown": Kind.SLOWER,
    "Throttling": Kind.SLOWER,
    "ThrottlingException": Kind.SLOWER,
    "RequestLimitExceeded": Kind.SLOWER,
    "TooManyRequests": Kind.SLOWER,
    "BadDigest": Kind.DAMAGED,
    "InvalidDigest": Kind.DAMAGED,
    "InvalidChecksum": Kind.DAMAGED,
    "IncompleteBody": Kind.DAMAGED,
    "MalformedXML": Kind.DAMAGED,
    "XAmzContentChecksumMismatch": Kind.DAMAGED,
    "XAmzContentSHA256Mismatch": Kind.DAMAGED,
    "ExpiredToken": Kind.EXPIRED,
    "ExpiredTokenException": Kind.EXPIRED,
    "TokenRefreshRequired": Kind.EXPIRED,
    "RequestExpired": Kind.EXPIRED,
    "NoSuchKey": Kind.GONE,
    "NoSuchUpload": Kind.GONE,
    "NoSuchBucket": Kind.NO_BUCKET,
    "PreconditionFailed": Kind.TAKEN,
    "RequestTimeTooSkewed": Kind.SKEWED,
    "InsufficientStorage": Kind.FULL,
    "QuotaExceeded": Kind.FULL,
    "XMinioStorageFull": Kind.FULL,
    "RequestTimeout": Kind.RETRY,
    "NotImplemented": Kind.REFUSED,
    "OperationAborted": Kind.RETRY,
    "ConditionalRequestConflict": Kind.RETRY,
    "InternalError": Kind.RETRY,
    "ServiceUnavailable": Kind.RETRY,
}

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")


def classify(error: Exception) -> Fault:
    """Returns the meaning of an error of aiobotocore or obstore. Unknown errors are treated as temporary."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's ClientError
        return _client_error(response)
    name = type(error).__name__
    if name in _NO_CREDENTIALS:
        return Fault(Kind.DENIED, None, name)
    if name == "ParamValidationError":
        return Fault(Kind.REFUSED, None, name)
    return common_fault(error, reply_fault)


def _client_error(response: "Mapping[str, Any]") -> Fault:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = str(response.get("Error", {}).get("Code", ""))
    return reply_fault(code, status if isinstance(status, int) else None)


def reply_fault(code: str, status: int | None = None) -> Fault:
    """Classifies a reply by the code of the server, or by the status if it has no code, as for HEAD."""
    if code and not code.isdecimal():
        return coded_fault(_CODES, code, status)
    # S3 answers HEAD with 400 and no code if the credentials have expired.
    codes = {"without a code": Kind.EXPIRED} if status == 400 else {}
    return coded_fault(codes, "without a code", status)
