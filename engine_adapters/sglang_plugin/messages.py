"""The two messages between SGLang's HTTP process and its scheduler. They travel the way requests do, to every rank."""

from __future__ import annotations

from typing import Any, Dict  # noqa: UP035  msgspec resolves these in SGLang's own namespace

from sglang.srt.managers.io_struct import BaseReq, hook_custom_types


class ScaleSimRequest(BaseReq, kw_only=True):  # type: ignore[call-arg]
    """`name` is a command or read of `wire`, or "beat"; `payload` was checked by the HTTP process."""

    name: str
    payload: Dict[str, Any]  # noqa: UP006


class ScaleSimAnswer(BaseReq, kw_only=True):  # type: ignore[call-arg]
    """`status` is an HTTP status; 200 means done."""

    status: int
    payload: Dict[str, Any]  # noqa: UP006


def teach_sglang() -> None:
    """Makes SGLang's codec know both messages; needed in each process that sends or gets them."""
    hook_custom_types(ScaleSimRequest, ScaleSimAnswer)
