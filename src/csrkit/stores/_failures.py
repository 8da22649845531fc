"""What a failure of a Qdrant server means: whether waiting may help, and what it said."""

from __future__ import annotations

from json import JSONDecodeError

import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

__all__ = ["reason", "wait_s"]

_RETRYABLE = {408, 429, 500, 502, 503, 504}
_RETRYABLE_GRPC = {"ABORTED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
_GARBLED = (JSONDecodeError, UnicodeDecodeError)  # an answer cut short, or a proxy's own page
_NETWORK = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def wait_s(error: Exception) -> float | None:
    """Return the seconds to wait before trying again at least, None if it cannot help."""
    if isinstance(error, ResourceExhaustedResponse):
        return float(error.retry_after_s)
    if type(error) is QdrantException:  # a Retry-After that is a date, which the client refuses
        return 0.0
    if isinstance(error, _GARBLED):
        return 0.0
    if isinstance(error, UnexpectedResponse):
        return 0.0 if error.status_code in _RETRYABLE else None
    if isinstance(error, ResponseHandlingException):
        return 0.0 if isinstance(error.source, _NETWORK) else None
    code = getattr(error, "code", None)  # grpc.RpcError; grpc itself is not imported for this
    status = getattr(code(), "name", None) if callable(code) else None
    return 0.0 if status in _RETRYABLE_GRPC else None


def reason(error: Exception) -> str:
    """Spell a failure: the server's words, or those of what the client wraps silently."""
    if isinstance(error, UnexpectedResponse):
        try:
            words = error.structured()["status"]["error"]
        except (ValueError, LookupError, TypeError):
            return f"{error}"
        return f"{error.status_code} {error.reason_phrase}: {words}"
    source = error.source if isinstance(error, ResponseHandlingException) else error
    return f"{type(source).__name__}: {source}"
