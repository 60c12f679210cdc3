"""`scalesim record`: the proxy, with a trace of the calls that go by."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import with_options_of
from .serve import serve_command


@with_options_of(serve_command)
def record_command(
    file: Annotated[str, typer.Argument(help="Where the trace goes (JSONL).", metavar="FILE")],
    full_text: Annotated[
        bool | None,
        typer.Option("--full-text", help="Record prompts, answers and names in full, instead of as hashes."),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="Most that the trace takes, all its files together [1 GB].", metavar="BYTES"),
    ] = None,
    files: Annotated[str | None, typer.Option(help="Files of the trace, at most [4].", metavar="N")] = None,
    salt_file: Annotated[
        str | None,
        typer.Option(help="File of the key of its hashes, made if missing [FILE.salt].", metavar="FILE"),
    ] = None,
    **serving: object,
) -> None:
    """Run the proxy and record the calls that go by.

    Prompts and names are recorded as keyed hashes, unless --full-text says otherwise; only a full-text trace can feed
    `scalesim recipes test`. docs/traces.md says what is in a trace, and who can read what out of it.
    """
    from .running import run_proxy  # as in serve

    recording: dict[str, object] = {
        "record": file,
        "record_full_text": full_text,
        "record_max_bytes": max_bytes,
        "record_files": files,
        "record_salt": salt_file,
    }
    run_proxy(serving | recording)
