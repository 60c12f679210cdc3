"""The errors the proxy's shell tells its callers about; each says what they can do."""

from __future__ import annotations


class ScaleSimError(Exception):
    """Root of what this package raises on purpose."""


class CannotKeep(ScaleSimError):
    """The state file cannot be used: give another path, or take the file away."""


def error_body(status: int, kind: str, message: str) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "code": status}}


class CallRefused(ScaleSimError):
    """The client's request cannot be passed on as it is: it is answered with `status`, and nothing was sent or learned."""

    status = 400
    kind = "invalid_request_error"
    retry_after_s: float | None = None
    """When the client may come again with the same request; None: it would be refused again."""

    def body(self) -> dict[str, object]:
        """In the form that OpenAI's clients show to their users."""
        return error_body(self.status, self.kind, str(self))


class BodyTooLarge(CallRefused):
    status = 413
    kind = "request_too_large"


class UpstreamError(ScaleSimError):
    """The engine gave no answer, or half of one; the text says why. The client may try again."""

    status = 502
    kind = "engine_unreachable"
    what = "is unreachable"
    """Said of the engine."""
    retry_after_s: float | None = None
    """When the client may send it again without a doubt; None: it may have been generated."""


class UpstreamUnreachable(UpstreamError):
    """No connection: nothing reached the engine."""

    retry_after_s = 1.0


class UpstreamTimedOut(UpstreamError):
    """No connection within the time for it: nothing reached the engine."""

    status = 503
    retry_after_s = 1.0


class UpstreamBusy(UpstreamError):
    """All connections are in use, and as many calls wait as may: nothing reached the engine. Try again later."""

    status = 503
    kind = "engine_busy"
    what = "is busy"
    retry_after_s = 1.0


class UpstreamBroke(UpstreamError):
    """The engine took the request and broke off before the end of its answer."""

    kind = "engine_broke_off"
    what = "broke off before it answered"


class UpstreamSilent(UpstreamBroke):
    """The engine took the request, and no answer began within the time for it."""

    status = 504
    kind = "engine_timed_out"
    what = "did not answer in time"


class UpstreamStalled(UpstreamSilent):
    """In the middle of its answer the engine was silent for longer than it may."""


class UpstreamOverran(UpstreamSilent):
    """Sending, waiting and answering took longer together than a call may."""
