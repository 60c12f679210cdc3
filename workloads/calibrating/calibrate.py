"""`calibrate`: asks a live engine what its steps, loads and calls take, and puts it down as a profile.

From outside, by calls alone, so that it works against whatever speaks OpenAI's API. What prompts take is seen by how long they hold up
the answer of another call; what decoding takes by how fast answers come; what is around an engine's steps by what a single call takes
besides. Prefixes come back from host memory where SGLang has one and says so; adapters are loaded where there are more than slots.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from scalesim.workloads import calibration
from scalesim.workloads.engines import Engine, EngineUnfit, Facts, http_client
from scalesim.workloads.replay.profiles import UNSEEN_S, Measured, server

from .fit import Decode, Fitted, Prefill, attended_by, decoding, fitted, stall
from .probes import Prober, Seen, Text

PROMPTS = (32, 128, 384, 1024, 2048)
"""Tokens of prompts that are measured one by one..."""
REPEATS = 3
"""... so many times each."""
SIDE_BY_SIDE = ((4, 128), (8, 96), (12, 64))
"""Calls that come at once, and tokens of each."""
BEHIND, NEW = 1500, 128
"""Tokens that the engine has already, and new ones behind them."""
RUNNING = (1, 2, 3, 4, 6, 8, 12)
CONTEXTS = (64, 768)
ANSWER = 40
HOST = (256, 1024)
"""Tokens of prefixes that come back from host memory."""
BEHIND_HOST = (16, 384)
"""New ones behind these."""
PARTS = (1, 2, 4, 8, 16, 32, 64)
"""In which copies may come: the layers of a model."""
MOST_LOOKS = 8
FILLER = 1500
CALL_TIMEOUT_S = 600.0
USUAL_CHARS_PER_TOKEN = 4.0
MOST_SHARE = 0.6
"""Of the room, that is asked for at once."""
UNKNOWN_ROOM = 16_384


@dataclass(frozen=True, slots=True)
class Aim:
    """What is measured."""

    base_url: str
    """Where calls go: an engine, or a proxy before it. Without `/v1`."""
    engine_url: str | None = None
    """Where the engine itself is asked and told to forget; None: the same."""
    model: str = ""
    """The first that is offered, if there is no name."""
    api_key: str = "none"
    simulation: str | None = None
    """Towards a proxy, that calls are part of; None: they say nothing."""


@dataclass(slots=True)
class Observed:
    prefills: list[Prefill] = field(default_factory=list)
    decodes: list[Decode] = field(default_factory=list)
    single: list[Seen] = field(default_factory=list)
    """Calls that had the engine to themselves."""
    from_host: list[Seen] = field(default_factory=list)
    """The same, of which a part came from host memory."""
    adapter_s: list[float] = field(default_factory=list)
    """By which a call took longer because its adapter was not there."""
    notes: list[str] = field(default_factory=list)
    """What was not measured, and why."""

    def and_then(self, later: Observed) -> Observed:
        """Both together."""
        return Observed(
            [*self.prefills, *later.prefills],
            [*self.decodes, *later.decodes],
            [*self.single, *later.single],
            [*self.from_host, *later.from_host],
            [*self.adapter_s, *later.adapter_s],
            list(dict.fromkeys((*self.notes, *later.notes))),
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    profile: Measured
    notes: tuple[str, ...]
    prefill_error: float | None
    decode_error: float | None
    """Mean relative errors of the fits, over what they were fitted to."""
    observed: Observed


async def calibrate(aim: Aim, name: str, source: str, say: Callable[[str], None]) -> Calibration:
    """`source` says where the figures are from; `say` is told what is being measured. Raises `EngineUnfit`."""
    observed, facts = await observe(aim, say)
    return concluded(observed, facts, name, source)


async def observe(aim: Aim, say: Callable[[str], None]) -> tuple[Observed, Facts | None]:
    """Raises `EngineUnfit`."""
    observed = Observed()
    headers = {"Authorization": f"Bearer {aim.api_key}"}
    async with (
        http_client(aim.engine_url or aim.base_url, headers) as http,
        http_client(aim.base_url, headers, timeout_s=CALL_TIMEOUT_S) as calls,
    ):
        engine = Engine(http)
        model = aim.model or await engine.model()
        facts = await engine.facts()
        if facts is None:
            observed.notes.append(
                "it does not say how large it is: sizes are guesses, and nothing is brought from host memory"
            )
        try:
            chars = await calibration.of_engine(engine)
        except EngineUnfit:
            chars = USUAL_CHARS_PER_TOKEN
        prober = Prober(calls, model, chars, _identity(aim), names_adapters=facts is None)
        await _Run(prober, engine, facts, observed, say, f"{time.time_ns()}").everything()
    return observed, facts


def _identity(aim: Aim) -> dict[str, str]:
    if aim.simulation is None:
        return {}
    return {"X-Agent-ID": "probe", "X-Simulation-ID": aim.simulation}


class _Run:
    def __init__(
        self,
        prober: Prober,
        engine: Engine,
        facts: Facts | None,
        observed: Observed,
        say: Callable[[str], None],
        salt: str,
    ) -> None:
        """`salt` makes texts that no engine has seen before."""
        self._prober = prober
        self._engine = engine
        self._facts = facts
        self._observed = observed
        self._say = say
        self._salt = salt
        self._made = 0
        self._room = UNKNOWN_ROOM if facts is None else facts.capacity_tokens
        self._chunk = server().chunk_tokens if facts is None else facts.chunk_tokens
        self._adapters: list[str] = []

    async def everything(self) -> None:
        await self._forget()
        for size in (32, 512):
            await self._prober.ask(self._text(size), 4)  # whatever is done once, is done now
        self._say("calls by themselves, prompts of several sizes, side by side, behind others")
        await self._singles()
        await self._prefills()
        self._say("decoding, of one call and of several")
        await self._decodes()
        self._say("host memory, adapters")
        await self._from_host()
        await self._with_adapters()
        await self._forget()

    def _text(self, tokens: int, *after: Text) -> Text:
        self._made += 1
        return Text(f"{self._salt}/{self._made}", tokens, after)

    def _fits(self, tokens: int) -> bool:
        return tokens <= self._room * MOST_SHARE

    async def _forget(self) -> None:
        if self._facts is not None:
            await self._engine.forget_everything()

    async def _singles(self) -> None:
        for size in PROMPTS[:4]:
            if self._fits(size):
                for _ in range(REPEATS):
                    self._observed.single.append(await self._prober.ask(self._text(size), 2))

    async def _prefills(self) -> None:
        for size in PROMPTS:
            if size <= self._chunk and self._fits(size):
                for _ in range(REPEATS):
                    await self._hold_up([self._text(size)])
        for count, size in SIDE_BY_SIDE:
            if count * size <= self._chunk and self._fits(count * size):
                for _ in range(REPEATS):
                    await self._hold_up([self._text(size) for _ in range(count)])
        if not self._fits(BEHIND + NEW):
            return
        before = self._text(BEHIND)
        await self._prober.ask(before, 1)
        for _ in range(REPEATS):
            seen = await self._hold_up([self._text(NEW, before)])
            if seen and not seen[0].cached_tokens:
                self._observed.notes.append(
                    "it does not say what it finds in its cache: attention behind that is not measured"
                )
                return

    async def _hold_up(self, texts: Sequence[Text], adapters: Sequence[str | None] = ()) -> list[Seen]:
        first, others = await self._prober.held_up(self._text(24), texts, 1, adapters)
        seen = stall(first, others, adapted=bool(adapters))
        if seen is not None:
            self._observed.prefills.append(seen)
        return others

    async def _decodes(self, adapters: Sequence[str] = ()) -> None:
        for context in CONTEXTS:
            for count in RUNNING:
                if not self._fits(count * (context + ANSWER)) or (adapters and count > len(adapters)):
                    continue
                own: list[str | None] = list(adapters[:count]) if adapters else [None] * count
                # The first answers have to wait for the last prompts.
                length = ANSWER + 2 * count
                answers = await self._prober.together(
                    [self._text(context) for _ in range(count)], length, own
                )
                seen = decoding(answers, adapted=bool(adapters))
                if seen is not None:
                    self._observed.decodes.append(seen)

    async def _from_host(self) -> None:
        facts, notes = self._facts, self._observed.notes
        if facts is None:
            return
        if facts.host_tokens is None:
            notes.append(
                "it was started with --hicache-size, and does not say how many tokens that is: put host_tokens right"
            )
        elif not facts.host_tokens:
            notes.append("it has no host memory for prefixes: loads of them are not measured")
            return
        for new in (*BEHIND_HOST, *BEHIND_HOST):
            prefixes = [self._text(size) for size in HOST if self._fits(size)]
            for prefix in prefixes:
                await self._prober.ask(prefix, 1)
            for _ in range(self._room // FILLER + 1):
                await self._prober.ask(self._text(FILLER), 1)
            for prefix in prefixes:
                seen = await self._prober.ask(self._text(new, prefix), 1)
                if seen.host_tokens:
                    self._observed.from_host.append(seen)
        if not self._observed.from_host:
            notes.append("nothing came back from its host memory: loads of prefixes are not measured")

    async def _with_adapters(self) -> None:
        facts, notes = self._facts, self._observed.notes
        adapters = await self._engine.adapters()
        if not adapters:
            notes.append("it has no adapters: they are not measured")
            return
        slots = facts.slots if facts is not None else 0
        if not slots or len(adapters) <= slots:
            notes.append(
                f"{len(adapters)} adapters and {slots or 'unknown'} slots: none has to leave, so no load is measured"
            )
        else:
            for _ in range(REPEATS):
                for adapter in adapters[: slots + 2]:
                    missed = await self._prober.ask(self._text(64), 1, adapter)
                    found = await self._prober.ask(self._text(64), 1, adapter)
                    self._observed.adapter_s.append(max(0.0, missed.ttft_s - found.ttft_s))
        some = adapters[: max(1, slots - 1)]
        for adapter in some:
            await self._prober.ask(self._text(16), 1, adapter)
        for size in PROMPTS[1:4]:
            if self._fits(size):
                for _ in range(REPEATS):
                    await self._hold_up([self._text(size)], [some[-1]])
        await self._decodes(some)


def concluded(observed: Observed, facts: Facts | None, name: str, source: str) -> Calibration:
    """Raises `EngineUnfit` if too little was seen."""
    if not observed.prefills or not observed.decodes:
        raise EngineUnfit("its answers came too irregularly to see what its steps take")
    prefill = fitted([one.row() for one in observed.prefills], [one.seconds for one in observed.prefills], 5)
    decode = fitted([one.row() for one in observed.decodes], [one.seconds for one in observed.decodes], 4)
    usual = server()
    front = _median(
        seen.ttft_s - _prefill_s(prefill, seen.prompt_tokens - seen.cached_tokens, seen.cached_tokens)
        for seen in observed.single
    )
    overhead_s, host_token_s, parts = _loads(observed.from_host, prefill, front)
    step, call, token, attended, adapted = prefill.values
    profile = Measured(
        name=name,
        source=source,
        capacity_tokens=UNKNOWN_ROOM if facts is None else facts.capacity_tokens,
        host_tokens=0 if facts is None else facts.host_tokens or 0,
        slots=0 if facts is None else facts.slots,
        chunk_tokens=usual.chunk_tokens if facts is None else facts.chunk_tokens,
        max_running=usual.max_running if facts is None else facts.max_running or usual.max_running,
        block_tokens=usual.block_tokens if facts is None else facts.block_tokens,
        front_s=max(0.0, front),
        after_s=max(0.0, _median(seen.ended_s - seen.tokens_s[-1] for seen in observed.single)),
        prefill_step_s=step,
        prefill_call_s=call,
        prefill_token_s=max(UNSEEN_S, token),
        attended_token_s=attended,
        adapted_token_s=adapted,
        decode_step_s=max(UNSEEN_S, decode.values[0]),
        decode_call_s=decode.values[1],
        context_token_s=decode.values[2],
        adapted_call_s=decode.values[3],
        load_overhead_s=overhead_s if observed.from_host else usual.load_overhead_s,
        load_token_s=max(UNSEEN_S, host_token_s),
        load_parts=parts,
        adapter_load_s=_median(observed.adapter_s),
        report_every_s=usual.report_every_s,
        control_s=usual.control_s,
    )
    return Calibration(profile, tuple(observed.notes), prefill.error, decode.error, observed)


def _prefill_s(fit: Fitted, tokens: int, before: int) -> float:
    step, call, token, attended, _ = fit.values
    return step + call + token * tokens + attended * attended_by(tokens, before)


def _loads(seen: Sequence[Seen], prefill: Fitted, front: float) -> tuple[float, float, int]:
    """Overhead, time of a token, and in how many parts it comes: those with which the calls took what they took."""
    calls = [
        (one.host_tokens, _prefill_s(prefill, one.prompt_tokens - one.cached_tokens, one.cached_tokens), one)
        for one in seen
    ]
    best, best_error = (0.0, 0.0, 1), math.inf
    for parts in PARTS:
        waited = calls
        found = 0.0, 0.0
        for _ in range(MOST_LOOKS):
            rows = [[1.0, float(tokens)] for tokens, _, _ in waited]
            took = [max(UNSEEN_S, one.ttft_s - front - computing / parts) for _, computing, one in waited]
            overhead, token, *_ = fitted(rows, took, 2).values
            found = overhead, token
            # A load that computing hides says nothing of how long it takes.
            still = [call for call in calls if overhead + token * call[0] > call[1]]
            if len(still) < 2 or still == waited:
                break
            waited = still
        errors = []
        for tokens, computing, one in calls:
            copying = found[0] + found[1] * tokens
            took_s = front + max(copying + computing / parts, copying / parts + computing)
            errors.append(abs(took_s - one.ttft_s) / one.ttft_s)
        if errors and statistics.mean(errors) < best_error:
            best, best_error = (*found, parts), statistics.mean(errors)
    return best


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else 0.0
