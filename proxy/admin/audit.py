"""What operators changed of the proxy itself, and who did, in the log. Never a secret, and never a text that was sent."""

from __future__ import annotations

import logging

from fastapi import Request

from .gate import WHO

log = logging.getLogger("scalesim.audit")


def audit(request: Request, what: str) -> None:
    """`what` was done, and is in force."""
    log.info("%s: %s", by(request), what)


def by(request: Request) -> str:
    who = request.scope.get(WHO)
    return "an operator without a key" if who is None else f"the operator with the key {who!r}"
