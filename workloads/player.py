"""Plays a program over HTTP as a simulation would: the official `openai` client, and hints if it gives any.

What hints say is the target's choice (`Told`). Distances are told anew in every step; of actions and positions only what has
changed. All activations of a step run at the same time, the calls of one chain one after the other.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Self
from urllib.parse import quote

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError, omit
from openai.types.chat import ChatCompletionChunk
from openai.types.completion_usage import CompletionUsage

from .engines import http_client
from .plans import STEP_MINUTES
from .program import Activation, Call, Impossible, Place, Program, Space, Step, Told
from .records import CallRecord, StepPlayed, TokenSeen

MOST_TOLD = 5_000
"""Agents of which one body says something: several parts are taken where one body would be refused as too large."""
RULES = {"rules": ["default"], "unit": "steps", "per_minute": 1 / STEP_MINUTES}
"""By which the proxy is to read answers."""
LINES = {"Content-Type": "application/x-ndjson"}
UNKNOWN = (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a program is played, and what the simulation says there."""

    base_url: str
    """Of an engine or a proxy, without `/v1`."""
    model: str = "default"
    api_key: str = "none"
    simulation: str | None = None
    """The simulation's name towards a proxy; None sends no identity at all."""
    admin_url: str | None = None
    """Of the proxy's admin REST; with it, the simulation gives hints."""
    admin_key: str | None = None
    measured_url: str | None = None
    """Of an admin REST that is told nothing, and only asked at the end how right the proxy's own guesses were."""
    timeout_s: float = 600.0
    adapters: Mapping[str, str] = field(default_factory=dict)
    """By agent. With hints, the proxy is told whose is whose before the first step."""
    adapter_paths: Mapping[str, str] = field(default_factory=dict)
    """By adapter: where it lies, as the engine's machine sees it. With hints, they are registered in the proxy."""
    told: Told = Told.EXACT
    """What hints say; NONE: the simulation is made and says nothing more."""
    space: Space | None = None
    """With positions, the proxy is told of it before the first step."""
    graph: tuple[tuple[str, str], ...] | None = None
    """With activations, the proxy is told of it before the first step."""
    logprobs: bool = True
    """Whether to ask for the likeliest candidates of each token, by which a difference of texts can be explained."""

    def __post_init__(self) -> None:
        if self.admin_url is not None and self.simulation is None:
            raise Impossible("hints need the name of a simulation")
        if self.admin_url is None and self.told not in (Told.EXACT, Told.NONE):
            raise Impossible(f"there is no admin REST to tell {self.told.value!r} to")

    def of(self, program: Program) -> Self:
        """The same place, and what holds in the program from the first step to the last."""
        return replace(self, space=program.space, graph=program.graph)


class HintRefused(Exception):
    """The proxy did not take a hint: a measurement without it would not be what it claims to be."""


class Player:
    """One play of a program. Made by `playing`, which also ends it."""

    def __init__(self, target: Target, openai: AsyncOpenAI, admin: httpx.AsyncClient | None) -> None:
        self._target = target
        self._openai = openai
        self._admin = admin
        """None: there is nobody to tell or to ask."""
        self._tells = target.admin_url is not None
        self._origin_s = time.perf_counter()
        self._told_ends: dict[str, float] = {}
        """By agent: the step in which its action ends, as the proxy was told last."""
        self._told_places: dict[str, tuple[Place, Place, float]] = {}

    async def begin(self) -> Self:
        if self._tells:
            await self._hint("PUT", "", {})
            for name, path in self._target.adapter_paths.items():
                await self._ask("PUT", f"/admin/v1/adapters/{quote(name, safe='')}", {"path": path})
            if self._target.adapters:
                body = {"agents": dict(self._target.adapters), "create_agents": True}
                await self._hint("PUT", "/adapters", body)
            if self._target.told is Told.SPATIAL and self._target.space is not None:
                space = self._target.space
                of_space = {"radius": space.radius, "speed": space.speed, "cooldown": space.cooldown}
                await self._hint("PUT", "/space", {"unit": "steps", **of_space})
            if self._target.told is Told.PATH and self._target.graph is not None:
                lines = "".join(f"{json.dumps(edge)}\n" for edge in self._target.graph)
                await self._hint("PUT", "/graph?create_agents=true", lines)
            if self._target.told is Told.ANSWERS:
                await self._hint("PUT", "/answers", RULES)
        return self

    async def play(self, step: Step) -> StepPlayed:
        began_s = time.perf_counter()
        if self._tells:
            await self._tell(step)
        async with asyncio.TaskGroup() as chains:
            tasks = [chains.create_task(self._chain(step, activation)) for activation in step.activations]
        records = tuple(record for task in tasks for record in task.result())
        return StepPlayed(time.perf_counter() - began_s, records)

    async def single(self, activation: Activation, index: int, *, is_named: bool = True) -> CallRecord:
        """The first call of it, outside of any step; nothing is said of what comes after."""
        headers = self._names(activation) if is_named else {}
        return await self._call(activation, 0, index, activation.calls[0], headers)

    async def _tell(self, step: Step) -> None:
        told = self._target.told
        if told is Told.NONE:
            return
        await self._hint("POST", "/ticks", {"step": step.index})
        if told is Told.EXACT:
            await self._tell_distances(step)
        if told in (Told.PLAN, Told.SPATIAL):
            await self._tell_actions(step)
        if told is Told.SPATIAL:
            await self._tell_positions(step)
        if told is Told.PATH:
            for wave, agents in step.known.reached.items():
                for part in _batched(agents, MOST_TOLD):
                    body = {"agents": list(part), "wave": str(wave), "create_agents": True}
                    await self._hint("POST", "/activations", body)

    async def _tell_distances(self, step: Step) -> None:
        if step.hints is not None and not step.hints.distances:
            return
        told = step.distances if step.hints is None else step.hints.distances
        distances = {agent: None if math.isinf(distance) else distance for agent, distance in told.items()}
        for part in _batched(distances, MOST_TOLD):
            body = {"unit": "steps", "distances": {agent: distances[agent] for agent in part}}
            await self._hint("POST", "/distances", {**body, "create_agents": True})

    async def _tell_actions(self, step: Step) -> None:
        """Of those whose action does not end when the proxy thinks it does."""
        ends = {agent: step.index + left for agent, left in step.known.actions.items()}
        news = {agent: end for agent, end in ends.items() if self._told_ends.get(agent) != end}
        for part in _batched(news, MOST_TOLD):
            durations = {agent: step.known.actions[agent] for agent in part}
            body = {"unit": "steps", "durations": durations, "create_agents": True}
            await self._hint("POST", "/actions", body)
        self._told_ends |= news

    async def _tell_positions(self, step: Step) -> None:
        """Of those who are somewhere else, or go somewhere else, than when it was told last. And who has talked."""
        known = step.known
        places = {
            agent: (place, known.destinations[agent], known.speeds[agent])
            for agent, place in known.positions.items()
        }
        news = {agent: place for agent, place in places.items() if self._told_places.get(agent) != place}
        for part in _batched(news, MOST_TOLD):
            body = {
                "positions": {agent: list(news[agent][0]) for agent in part},
                "destinations": {agent: list(news[agent][1]) for agent in part},
                "speeds": {agent: news[agent][2] for agent in part},
            }
            await self._hint("POST", "/positions", body)
        self._told_places |= news
        if known.met:
            await self._hint("POST", "/interactions", {"pairs": [list(pair) for pair in known.met]})

    async def accuracy(self) -> Mapping[str, object]:
        """By source of distances: how right it has been, as the proxy measured it. Empty where nobody says."""
        if self._admin is None or self._target.simulation is None:
            return {}
        response = await self._hint("GET", "", None, tolerated=UNKNOWN)
        told = response.json().get("accuracy") if response.is_success else None
        return told if isinstance(told, Mapping) else {}

    async def forget(self) -> None:
        """Takes the simulation out of the proxy. It may have gone already, or never have been made."""
        if self._tells:
            await self._hint("DELETE", "", None, tolerated=(httpx.codes.NOT_FOUND,))

    async def _hint(
        self, method: str, path: str, body: object, tolerated: tuple[int, ...] = ()
    ) -> httpx.Response:
        assert self._target.simulation is not None
        url = f"/admin/v1/simulations/{quote(self._target.simulation, safe='')}{path}"
        return await self._ask(method, url, body, tolerated)

    async def _ask(
        self, method: str, url: str, body: object, tolerated: tuple[int, ...] = ()
    ) -> httpx.Response:
        """A body that is text is sent as lines."""
        assert self._admin is not None
        try:
            if isinstance(body, str):
                response = await self._admin.request(method, url, content=body, headers=LINES)
            else:
                response = await self._admin.request(method, url, json=body)
        except httpx.HTTPError as exc:
            raise HintRefused(f"{method} {url}: {exc!r}") from exc
        if response.is_error and response.status_code not in tolerated:
            raise HintRefused(f"{method} {url}: {response.status_code} {response.text[:500]}")
        return response

    async def _chain(self, step: Step, activation: Activation) -> list[CallRecord]:
        last = len(activation.calls) - 1
        records = []
        for index, call in enumerate(activation.calls):
            headers = self._headers(step, activation, last=index == last)
            records.append(await self._call(activation, step.index, index, call, headers))
        return records

    def _headers(self, step: Step, activation: Activation, *, last: bool) -> dict[str, str]:
        headers = self._names(activation)
        acts_for = self._acts_for(step, activation) if headers and self._tells and last else None
        if acts_for is not None and math.isfinite(acts_for):
            headers["X-Agent-Acts-For"] = f"{acts_for:.12g} steps"
            if self._target.told is not Told.EXACT:
                self._told_ends[activation.agent] = step.index + acts_for
        return headers

    def _names(self, activation: Activation) -> dict[str, str]:
        if self._target.simulation is None:
            return {}
        return {"X-Agent-ID": activation.agent, "X-Simulation-ID": self._target.simulation}

    def _acts_for(self, step: Step, activation: Activation) -> float | None:
        match self._target.told:
            case Told.EXACT:
                exact, hints = activation.acts_for_steps, step.hints
                return exact if hints is None else hints.acts_for_steps.get(activation.agent)
            case Told.PLAN | Told.SPATIAL:
                return activation.planned_steps
            case Told.ANSWERS | Told.PATH | Told.TICKS | Told.NONE:
                return None

    async def _call(
        self, activation: Activation, step: int, index: int, call: Call, headers: Mapping[str, str]
    ) -> CallRecord:
        body: dict[str, object] = {
            # Here and not as a parameter, where the client looks up the type of each field of each message: 8 ms of
            # processor time for a history of 30.
            "messages": list(call.messages),
            "ignore_eos": True,
            "return_output_ids_in_sglext": True,
            "return_cached_tokens_details": True,
        }
        if activation.adapter is not None:
            body["lora_path"] = activation.adapter
        if call.says is not None:
            # And anything after it, so that the answer's length stays that of the program.
            body["regex"] = f"{call.says} [a-z ]*"
        started_s = time.perf_counter()
        answer = _Answer()
        try:
            stream = await self._openai.chat.completions.create(
                model=self._target.model,
                messages=[],
                max_tokens=call.max_tokens,
                temperature=0,
                logprobs=self._target.logprobs,
                top_logprobs=2 if self._target.logprobs else omit,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers=headers,
                extra_body=body,
            )
            async with stream:
                async for chunk in stream:
                    answer.add(chunk)
            error = answer.what_is_missing()
        except (OpenAIError, ValueError) as exc:  # ValueError: the stream was not JSON
            error = f"{type(exc).__name__}: {exc}"
        ended_s = time.perf_counter()
        return answer.record(
            activation,
            step,
            index,
            call.template,
            started_s - self._origin_s,
            ended_s - self._origin_s,
            self._origin_s,
            error,
        )


def _batched(agents: Iterable[str], size: int) -> Iterator[list[str]]:
    """`itertools.batched` of later Pythons."""
    left = iter(agents)
    while part := list(islice(left, size)):
        yield part


class _Answer:
    """Puts the chunks of one stream together."""

    def __init__(self) -> None:
        self._first_token_at: float | None = None
        self._text: list[str] = []
        self._tokens: list[TokenSeen] = []
        self._token_ids: tuple[int, ...] = ()
        self._host_tokens = 0
        self._usage: CompletionUsage | None = None
        self._finished = False

    def add(self, chunk: ChatCompletionChunk) -> None:
        if chunk.usage is not None:
            self._usage = chunk.usage
        extension = (chunk.model_extra or {}).get("sglext")
        if isinstance(extension, Mapping) and extension.get("output_ids"):
            self._token_ids = tuple(extension["output_ids"][0])
        if isinstance(extension, Mapping) and extension.get("cached_tokens_details"):
            self._host_tokens = int(extension["cached_tokens_details"].get("host") or 0)
        for choice in chunk.choices:
            tokens = choice.logprobs.content or [] if choice.logprobs is not None else []
            # The chunk that only names the role is no token; a token may be without text (half of a character).
            if self._first_token_at is None and (choice.delta.content or tokens):
                self._first_token_at = time.perf_counter()
            self._text.append(choice.delta.content or "")
            self._tokens += [
                TokenSeen(token.token, tuple((top.token, top.logprob) for top in token.top_logprobs))
                for token in tokens
            ]
            self._finished = self._finished or choice.finish_reason is not None

    def what_is_missing(self) -> str | None:
        if not self._finished:
            return "the stream ended before the answer did"
        if self._usage is None:
            return "the answer came without usage"
        return None

    def record(
        self,
        activation: Activation,
        step: int,
        index: int,
        template: str,
        started_s: float,
        ended_s: float,
        origin_s: float,
        error: str | None,
    ) -> CallRecord:
        usage = self._usage
        details = usage.prompt_tokens_details if usage is not None else None
        return CallRecord(
            agent=activation.agent,
            step=step,
            index=index,
            template=template,
            started_s=started_s,
            ended_s=ended_s,
            first_token_s=None if self._first_token_at is None else self._first_token_at - origin_s,
            prompt_tokens=usage.prompt_tokens if usage is not None else 0,
            cached_tokens=(details.cached_tokens or 0) if details is not None else 0,
            host_tokens=self._host_tokens,
            output_tokens=usage.completion_tokens if usage is not None else 0,
            text="".join(self._text),
            tokens=tuple(self._tokens),
            token_ids=self._token_ids,
            error=error,
            trigger=activation.trigger,
        )


@asynccontextmanager
async def playing(target: Target) -> AsyncIterator[Player]:
    """A player whose simulation exists in the proxy, and is gone from it afterwards. Raises `HintRefused`."""
    # A measurement must not wander through a web proxy of the environment. Certificates take long to load: without TLS,
    # they are not.
    http = DefaultAsyncHttpxClient(
        trust_env=False, timeout=target.timeout_s, verify=target.base_url.startswith("https:")
    )
    key = {"Authorization": f"Bearer {target.admin_key}"} if target.admin_key is not None else {}
    admin_url = target.admin_url or target.measured_url
    async with (
        AsyncOpenAI(
            base_url=f"{target.base_url}/v1", api_key=target.api_key, max_retries=0, http_client=http
        ) as openai,
        http_client(admin_url or "", headers=key) as admin,
    ):
        player = Player(target, openai, admin if admin_url is not None else None)
        await player.begin()
        try:
            yield player
        finally:
            await player.forget()


async def play_program(program: Program, target: Target) -> list[StepPlayed]:
    async with playing(target.of(program)) as player:
        return [await player.play(step) for step in program.steps]
