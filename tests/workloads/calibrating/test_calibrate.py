from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.workloads.calibrating.calibrate import Aim, Observed, calibrate, concluded
from scalesim.workloads.calibrating.fit import Decode, Prefill, attended_by
from scalesim.workloads.calibrating.probes import Seen
from scalesim.workloads.engines import EngineUnfit, Facts
from scalesim.workloads.replay.measured import MeasuredCosts
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine

STEP_S, CALL_S, TOKEN_S, PAIR_S = 0.002, 0.001, 1e-4, 1e-7
DECODE_S, DECODE_CALL_S, HELD_S = 0.01, 0.001, 1e-6
FRONT_S = 0.03
OVERHEAD_S, HOST_TOKEN_S, PARTS = 0.01, 8e-5, 4
FACTS = Facts("1", 8000, 24_000, 4, 4096, 64, 1)


def prefill_s(calls: int, tokens: int, before: int = 0) -> float:
    return STEP_S + CALL_S * calls + TOKEN_S * tokens + PAIR_S * attended_by(tokens, before)


def observed(**other: object) -> Observed:
    """Of an engine whose figures are those above."""
    prefills = [
        Prefill(1, calls, tokens, attended_by(tokens), prefill_s(calls, tokens))
        for calls in (1, 2, 5)
        for tokens in (50, 300, 1000, 2000)
    ]
    decodes = [
        Decode(running, context, DECODE_S + DECODE_CALL_S * running + HELD_S * context)
        for running in (1, 3, 8)
        for context in (100.0, 3000.0)
    ]
    single = [answer(tokens, prefill_s(1, tokens)) for tokens in (50, 300, 1000)]
    return Observed(prefills, decodes, single, **other)  # type: ignore[arg-type]


def answer(tokens: int, prefill: float, cached: int = 0, host: int = 0) -> Seen:
    first = FRONT_S + prefill
    return Seen(0.0, (first, first + DECODE_S), first + DECODE_S + 0.002, tokens + cached, cached, host, 2)


def loaded(tokens: int, host: int) -> Seen:
    computing, copying = prefill_s(1, tokens, host), OVERHEAD_S + HOST_TOKEN_S * host
    return answer(tokens, max(copying + computing / PARTS, copying / PARTS + computing), host, host)


def test_figures_come_back_from_what_was_seen() -> None:
    profile = concluded(observed(), FACTS, "toy", "a test").profile
    assert profile.prefill_step_s + profile.prefill_call_s == pytest.approx(STEP_S + CALL_S, rel=0.01)
    assert profile.prefill_token_s == pytest.approx(TOKEN_S, rel=0.01)
    assert profile.attended_token_s == pytest.approx(PAIR_S, rel=0.01)
    assert profile.decode_step_s == pytest.approx(DECODE_S, rel=0.01)
    assert profile.decode_call_s == pytest.approx(DECODE_CALL_S, rel=0.01)
    assert profile.context_token_s == pytest.approx(HELD_S, rel=0.01)
    assert profile.front_s == pytest.approx(FRONT_S, rel=0.01)
    assert profile.after_s == pytest.approx(0.002, rel=0.01)
    assert (profile.capacity_tokens, profile.host_tokens, profile.chunk_tokens) == (8000, 24_000, 4096)


def test_copies_are_told_from_the_computing_beside_them() -> None:
    seen = [loaded(tokens, host) for tokens in (16, 400) for host in (250, 1000, 2000)]
    profile = concluded(observed(from_host=seen), FACTS, "toy", "a test").profile
    assert profile.load_parts == PARTS
    assert profile.load_overhead_s == pytest.approx(OVERHEAD_S, rel=0.02)
    assert profile.load_token_s == pytest.approx(HOST_TOKEN_S, rel=0.02)


def test_a_replay_takes_an_adapter_to_load_as_long_as_it_took() -> None:
    profile = concluded(observed(adapter_s=[0.4, 0.41, 3.0]), FACTS, "toy", "a test").profile
    costs = MeasuredCosts(profile, adapted=True)
    assert costs.load_s(costs.sizes().adapter_bytes) == pytest.approx(0.41, rel=0.01)
    assert costs.sizes().slots == 4
    assert MeasuredCosts(profile).sizes().slots == 0


def test_two_series_are_one() -> None:
    both = observed(notes=["a"]).and_then(observed(notes=["a", "b"]))
    assert len(both.prefills) == 2 * len(observed().prefills)
    assert both.notes == ["a", "b"]
    one, two = (concluded(seen, FACTS, "toy", "").profile for seen in (observed(), both))
    assert two.prefill_token_s == pytest.approx(one.prefill_token_s)
    assert two.decode_step_s == pytest.approx(one.decode_step_s)


def test_what_saw_nothing_concludes_nothing() -> None:
    with pytest.raises(EngineUnfit, match="too irregularly"):
        concluded(replace(observed(), decodes=[]), FACTS, "toy", "a test")


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_live_engine_is_measured() -> None:
    engine = EmulatedEngine(capacity_tokens=20_000, prefill_s_per_token=2e-4, decode_s_per_token=0.01)
    async with serve(engine.app) as url:
        found = await calibrate(Aim(url), "emulated", "a test", lambda _: None)
    profile = found.profile
    assert profile.capacity_tokens == 20_000
    # It shares its event loop with who asks, and the machine with others.
    assert 1e-4 < profile.prefill_token_s < 6e-4
    assert 0.008 < profile.decode_step_s < 0.05
    assert "it has no adapters: they are not measured" in found.notes
    assert "it has no host memory for prefixes: loads of them are not measured" in found.notes


@pytest.mark.anyio
async def test_an_engine_that_answers_no_call_is_refused() -> None:
    async with serve(FakeEngine(failure="refuse").app()) as url:
        with pytest.raises(EngineUnfit, match="500"):
            await calibrate(Aim(url), "fake", "a test", lambda _: None)
