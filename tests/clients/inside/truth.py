"""The truth, taken inside the client's process: which agent made which request, and the bytes it sent and received.

Runs in the client's environment and is set up from outside of its package: nothing of that is edited, and no byte of a request
changes.
"""

import concurrent.futures
import contextvars
import functools
import hashlib
import importlib
import inspect
import json
import os
import threading
import time

_agent = contextvars.ContextVar("agent", default=None)
_kind = contextvars.ContextVar("kind", default=None)
_lock = threading.Lock()


def watch():
    """Every request through httpx becomes a line of the file that `TRUTH` names."""
    _carry_into_threads()
    out = open(os.environ["TRUTH"], "w")  # noqa: SIM115 (open as long as the process lives)
    for name in ("httpx", "httpx2"):
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        _watch(library, out)


def speaks(cls, method, agent=None, kind=None):
    """What is sent below `cls.method`, in its tasks and threads too, is `agent`'s, and of that `kind`.

    Each is a function of the method's arguments; where it answers None, what holds outside stays.
    """
    spoken = getattr(cls, method)

    def told(args, kwargs):
        values = [(_agent, agent), (_kind, kind)]
        known = [(variable, ask(*args, **kwargs)) for variable, ask in values if ask is not None]
        return [(variable, variable.set(str(value))) for variable, value in known if value is not None]

    def forget(tokens):
        for variable, token in reversed(tokens):
            variable.reset(token)

    async def awaited(call, args, kwargs):
        tokens = told(args, kwargs)
        try:
            return await call
        finally:
            forget(tokens)

    @functools.wraps(spoken)
    def wrapped(*args, **kwargs):
        tokens = told(args, kwargs)
        try:
            result = spoken(*args, **kwargs)
        finally:
            forget(tokens)
        # Also of what a decorator has made of an async method.
        return awaited(result, args, kwargs) if inspect.iscoroutine(result) else result

    setattr(cls, method, wrapped)


def _watch(library, out):
    send, asend = library.Client.send, library.AsyncClient.send

    def watched(self, request, **options):
        row = _asked(request.read(), request)
        try:
            answer = send(self, request, **options)
            return _answered(row, answer)
        finally:
            _write(out, row)

    async def awatched(self, request, **options):
        row = _asked(await request.aread(), request)
        try:
            answer = await asend(self, request, **options)
            return _answered(row, answer)
        finally:
            _write(out, row)

    library.Client.send, library.AsyncClient.send = watched, awatched


def _asked(body, request):
    return {
        "at": time.time(),
        "path": request.url.path,
        "agent": _agent.get(),
        "kind": _kind.get(),
        "sha256": hashlib.sha256(body).hexdigest(),
        "body": body.decode(),
        "headers": sorted(request.headers.keys()),
        "status": None,
        "answer_sha256": None,
        "answer": None,
    }


def _answered(row, answer):
    row["status"] = answer.status_code
    if answer.is_closed:  # has been read; a stream has not, and the clients here open none
        row["answer_sha256"] = hashlib.sha256(answer.content).hexdigest()
        row["answer"] = answer.content.decode()
    return answer


def _write(out, row):
    with _lock:
        out.write(json.dumps(row) + "\n")
        out.flush()


def _carry_into_threads():
    """Threads know who started them, as tasks do."""
    submit, start = concurrent.futures.ThreadPoolExecutor.submit, threading.Thread.start

    def submitted(self, function, /, *args, **kwargs):
        return submit(self, contextvars.copy_context().run, function, *args, **kwargs)

    def started(self):
        if type(self) is threading.Thread and self._target is not None:
            self._target = functools.partial(contextvars.copy_context().run, self._target)
        return start(self)

    concurrent.futures.ThreadPoolExecutor.submit = submitted
    threading.Thread.start = started
