"""Sends a request to the engine where it has a place, and if that fails once more, or to another one, until the head of an answer
is there. Nothing has gone to the client by then.

What may be sent again, and how often, says `retrying`; who may be asked, the breakers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.breaker import Breaker, Pass, Verdict, verdict_of, verdict_of_error
from scalesim.proxy.engines.fleet import Fleet

from ..errors import UpstreamError, UpstreamSilent, UpstreamTimedOut, UpstreamUnreachable
from ..timings import Timings
from .errand import Errand, Errands
from .retrying import Again, Answered, Failure, Retrying, Tried, failure_of, is_worth_a_look, retry_after_s
from .upstream import Answer, Upstream

_log = logging.getLogger(__name__)


class Begun(NamedTuple):
    """An answer, and whom to tell if it breaks off."""

    answer: Answer
    breaker: Breaker
    given: Pass


class Sender:
    """`clock` is the one of all else here, `wall` tells the seconds since 1970."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        upstream: Upstream,
        errands: Errands,
        retrying: Retrying,
        clock: Callable[[], float],
        wall: Callable[[], float],
        timings: Timings,
    ) -> None:
        self._fleet = fleet
        self._upstream = upstream
        self._errands = errands
        self._retrying = retrying
        self._clock = clock
        self._wall = wall
        self._timings = timings

    async def send(self, errand: Errand) -> Begun:
        """An answer of whatever status, to be closed. Raises `UpstreamError`, and `CallRefused` where no engine may be asked."""
        tried: Tried | None = None
        in_vain: tuple[EngineId, ...] = ()
        while True:
            breaker, given = await self._leave_to_send(errand)
            engine = errand.seat.engine
            if tried is None:
                self._retrying.first(engine)
                if errand.call is not None:
                    self._timings.added.note(self._clock() - errand.request.came_at - errand.waited_s)
            errand.goes()
            try:
                answer = await self._ask(errand)
            except BaseException:  # the client has left
                breaker.end(given, self._clock(), Verdict.NOTHING)
                raise
            if isinstance(answer, Answer):
                errand.answered(answer.headers)
            if isinstance(answer, UpstreamError):
                breaker.end(given, self._clock(), verdict_of_error(answer))
                failure = self._failed(errand, answer)
            else:
                breaker.end(given, self._clock(), verdict_of(answer.status))
                if not is_worth_a_look(answer.status):
                    return Begun(answer, breaker, given)
                failure = Answered(answer.status, retry_after_s(answer.headers, self._wall()))
            in_vain = (*in_vain, engine)
            again = self._again(errand, tried or Tried(errand.request.method), failure, in_vain)
            if again is None:
                if isinstance(answer, UpstreamError):
                    raise answer
                return Begun(answer, breaker, given)
            if isinstance(answer, Answer):
                errand.is_out = False
                answer.close()
            tried = again.tried
            await asyncio.sleep(again.after_s)

    async def _leave_to_send(self, errand: Errand) -> tuple[Breaker, Pass]:
        while True:
            if errand.seat.ticket is not None:
                await self._turn(errand)
            breaker = self._fleet.breakers.of(errand.seat.engine)
            given = breaker.begin(self._clock())
            if given is not None:
                return breaker, given
            self._errands.place_again(errand)  # it has opened while this one waited

    async def _turn(self, errand: Errand) -> None:
        before = self._clock()
        try:
            await errand.turn()
        finally:  # also of who left or was refused: else it would seem that nobody waits for long
            waited_s = self._clock() - before
            errand.waited_s += waited_s
            self._timings.of(errand.seat.engine).queue_wait.note(waited_s)

    async def _ask(self, errand: Errand) -> Answer | UpstreamError:
        request = errand.request
        try:
            return await self._upstream.send(
                request.method, errand.to.base_url, request.target, errand.headers, errand.body
            )
        except UpstreamError as exc:
            return exc

    def _failed(self, errand: Errand, error: UpstreamError) -> Failure:
        errand.is_out = isinstance(error, UpstreamSilent)  # it may be at it still
        if isinstance(error, UpstreamUnreachable | UpstreamTimedOut):
            self._fleet.silent(errand.seat.engine, self._clock(), str(error))
        return failure_of(error)

    def _again(
        self, errand: Errand, tried: Tried, failure: Failure, in_vain: tuple[EngineId, ...]
    ) -> Again | None:
        """Whether it is sent again. If so it has a seat where that is to be."""
        if not self._retrying.may(tried, failure):
            return None
        seat = self._errands.elsewhere(errand, in_vain)
        others = () if seat is None else (seat.engine,)
        again = self._retrying.again(errand.seat.engine, self._clock(), tried, failure, others)
        if seat is not None:
            if again is None:
                self._errands.give_back(errand, seat)
            else:
                self._errands.move(errand, seat)
        if again is not None:
            self._timings.of(in_vain[-1]).sent_again += 1
            _log.info("a request failed %s time(s), at %s for now: it is sent again", tried.attempts, errand)
        return again
