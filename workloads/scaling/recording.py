"""The emulated engine, writing down what each call found in its cache: a program of its own.

GET /recorded gives the calls that have ended, in the order in which they came.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import uvicorn

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.emulated.asgi import Receive, Scope, Send, send_json
from scalesim.engine_adapters.emulated.scheduler import Generation

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class _Noted:
    came_s: float
    generation: Generation
    ended_s: float | None = None

    def told(self) -> Json:
        one = self.generation
        return {
            "owner": one.owner,
            "start": self.came_s,
            "end": self.ended_s,
            "prompt": list(one.prompt),
            "output_tokens": len(one.output),
            "cached": one.cached,
            "ahead": not one.max_new,
        }


class RecordingEngine(EmulatedEngine):
    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self._noted: list[_Noted] = []

    def _submit(self, generation: Generation) -> None:
        noted = _Noted(time.monotonic(), generation)
        self._noted.append(noted)
        notify = generation.notify

        def moved() -> None:
            if generation.finish is not None and noted.ended_s is None:
                noted.ended_s = time.monotonic()
            notify()

        generation.notify = moved
        super()._submit(generation)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/recorded":
            calls = [one.told() for one in self._noted if one.ended_s is not None]
            await send_json(send, 200, calls)
            return
        await super().__call__(scope, receive, send)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--capacity-tokens", type=int, required=True)
    parser.add_argument("--prefill-s-per-token", type=float, required=True)
    parser.add_argument("--decode-s-per-token", type=float, required=True)
    parser.add_argument("--max-running", type=int, required=True)
    parser.add_argument("--bytes-per-token", type=int, required=True)
    given = vars(parser.parse_args())
    host, port = given.pop("host"), given.pop("port")
    uvicorn.run(RecordingEngine(**given).app, host=host, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
