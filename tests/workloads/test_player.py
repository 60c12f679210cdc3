from __future__ import annotations

import asyncio
import math
import zlib
from dataclasses import replace

import pytest

from scalesim.workloads.player import HintRefused, Target, play_program, playing
from scalesim.workloads.program import Activation, Call, Hints, Impossible, Known, Program, Space, Step, Told
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine, prompt_ids

pytestmark = pytest.mark.anyio


def call(text: str, tokens: int = 3) -> Call:
    return Call(({"role": "system", "content": "persona"}, {"role": "user", "content": text}), tokens, "plan")


def town() -> Program:
    """Ann makes two calls and Bob one, in one step; Cleo is far away, Dora never calls."""
    step = Step(
        4,
        (Activation("Ann", (call("a1"), call("a2")), 3.0), Activation("Bob", (call("b1"),), float("inf"))),
        {"Ann": 0.0, "Bob": 0.0, "Cleo": 7.0, "Dora": float("inf")},
    )
    return Program("town", ("Ann", "Bob", "Cleo", "Dora"), (step,))


async def test_a_record_holds_what_the_engine_said_of_a_call() -> None:
    engine = FakeEngine(answer=lambda _: ["yes ", "indeed"])
    async with serve(engine.app()) as url:
        (step,) = await play_program(town(), Target(url))
    first, second, bob = step.calls
    assert [(one.agent, one.step, one.index) for one in step.calls] == [
        ("Ann", 4, 0),
        ("Ann", 4, 1),
        ("Bob", 4, 0),
    ]
    assert first.error is None
    assert (first.text, first.template) == ("yes indeed", "plan")
    assert [(token.text, token.top) for token in first.tokens] == [
        ("yes ", (("yes ", -0.1), ("?", -4.0))),
        ("indeed", (("indeed", -0.1), ("?", -4.0))),
    ]
    assert first.token_ids == (zlib.crc32(b"yes "), zlib.crc32(b"indeed"))
    assert (first.prompt_tokens, first.output_tokens) == (4, 2)
    assert second.cached_tokens == 3
    assert first.first_token_s is not None
    assert first.started_s < first.first_token_s <= first.ended_s <= second.started_s
    assert first.ttft_s == first.first_token_s - first.started_s
    assert 0 < bob.ended_s <= step.wall_s + 1


async def test_calls_are_greedy_of_exact_length_and_streamed_with_usage() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url, model="m"))
    body = engine.asked[0].body
    assert body["model"] == "m"
    assert (body["temperature"], body["max_tokens"], body["ignore_eos"]) == (0, 3, True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


async def test_candidates_are_asked_for_only_where_texts_are_explained_by_them() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url, logprobs=False))
    assert all(asked.body["logprobs"] is False for asked in engine.asked)
    assert all("top_logprobs" not in asked.body for asked in engine.asked)


async def test_a_record_says_what_triggered_the_call() -> None:
    (step,) = town().steps
    met = replace(step, activations=tuple(replace(one, trigger="interaction") for one in step.activations))
    async with serve(FakeEngine().app()) as url:
        (played_step,) = await play_program(replace(town(), steps=(met,)), Target(url))
    assert {call.trigger for call in played_step.calls} == {"interaction"}


async def test_accuracy_is_read_where_the_proxy_tells_it() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url, playing(Target(url, simulation="s", admin_url=url)) as player:
        assert await player.accuracy() == {}
        engine.accuracy = {"hint": {"order": 1.0}}
        assert await player.accuracy() == {"hint": {"order": 1.0}}
    async with serve(engine.app()) as url, playing(Target(url)) as player:
        assert await player.accuracy() == {}


async def test_activations_run_at_the_same_time() -> None:
    # Nobody gets an answer before Ann and Bob have both asked; Ann's second call comes when Bob has gone.
    engine = FakeEngine(gate=asyncio.Barrier(2))
    program = town()
    (step,) = program.steps
    both = Step(0, (step.activations[0], Activation("Bob", (call("b1"), call("b2")), 1.0)), step.distances)
    async with serve(engine.app()) as url, asyncio.timeout(PATIENCE_S):
        await play_program(Program("town", program.agents, (both,)), Target(url))
    assert engine.most_running == 2


async def test_the_calls_of_a_chain_follow_each_other() -> None:
    engine = FakeEngine()
    chain = tuple(call(f"a{index}") for index in range(5))
    program = Program("town", ("Ann",), (Step(0, (Activation("Ann", chain, 1.0),), {"Ann": 0.0}),))
    async with serve(engine.app()) as url:
        await play_program(program, Target(url))
    assert engine.most_running == 1
    assert [asked.body["messages"][1]["content"] for asked in engine.asked] == ["a0", "a1", "a2", "a3", "a4"]


async def test_a_stock_engine_is_told_nothing_of_agents() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url))
    assert not [
        name for asked in engine.asked for name in asked.headers if name.startswith(("x-agent", "x-sim"))
    ]
    assert engine.told == []


async def test_without_hints_a_proxy_is_told_names_only() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url, simulation="sim 1"))
    headers = {asked.body["messages"][1]["content"]: asked.headers for asked in engine.asked}
    assert {text: one["x-agent-id"] for text, one in headers.items()} == {
        "a1": "Ann",
        "a2": "Ann",
        "b1": "Bob",
    }
    assert {one["x-simulation-id"] for one in headers.values()} == {"sim 1"}
    assert not [one for one in headers.values() if "x-agent-acts-for" in one]
    assert engine.told == []


async def test_a_simulation_that_gives_hints_does_so_before_each_step_and_ends_itself() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url, simulation="sim/1", admin_url=url))
    distances = {"Ann": 0.0, "Bob": 0.0, "Cleo": 7.0, "Dora": None}
    assert engine.told == [
        ("PUT sim/1", {}),
        ("POST sim/1/ticks", {"step": 4}),
        ("POST sim/1/distances", {"unit": "steps", "distances": distances, "create_agents": True}),
        ("DELETE sim/1", None),
    ]


ADAPTERS = {"Ann": "ad-0", "Bob": "ad-1"}


async def test_calls_name_the_adapter_of_their_agent_wherever_they_go() -> None:
    engine = FakeEngine(adapters={"ad-0": "/0", "ad-1": "/1"})
    async with serve(engine.app()) as url:
        await play_program(town().with_adapters(ADAPTERS), Target(url))
        await play_program(town().with_adapters(ADAPTERS), Target(url, simulation="s", admin_url=url))
        await play_program(town(), Target(url))
    named = [asked.body.get("lora_path") for asked in engine.asked]
    assert [sorted(map(str, named[first : first + 3])) for first in (0, 3, 6)] == [
        ["ad-0", "ad-0", "ad-1"],
        ["ad-0", "ad-0", "ad-1"],
        ["None", "None", "None"],
    ]


async def test_with_hints_adapters_are_registered_and_assigned_before_the_first_step() -> None:
    engine = FakeEngine(adapters={"ad-0": "/0", "ad-1": "/1"})
    paths = {"ad-0": "/0", "ad-1": "/1"}
    async with serve(engine.app()) as url:
        target = Target(url, simulation="s", admin_url=url, adapters=ADAPTERS, adapter_paths=paths)
        await play_program(town().with_adapters(ADAPTERS), target)
    assert engine.told[:4] == [
        ("PUT s", {}),
        ("PUT adapters/ad-0", {"path": "/0"}),
        ("PUT adapters/ad-1", {"path": "/1"}),
        ("PUT s/adapters", {"agents": ADAPTERS, "create_agents": True}),
    ]
    assert engine.told[4] == ("POST s/ticks", {"step": 4})


async def test_the_last_call_of_an_activation_says_how_long_the_agent_acts() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url, simulation="s", admin_url=url))
    told = {
        asked.body["messages"][1]["content"]: asked.headers.get("x-agent-acts-for") for asked in engine.asked
    }
    # Bob is not known to come back: there is nothing to say.
    assert told == {"a1": None, "a2": "3 steps", "b1": None}


def walk() -> Program:
    """Ann thinks that she acts for five steps, and meets Bob after two. Bob goes to his shop and stays there."""
    ann = Activation("Ann", (call("a1"),), 2.0, planned_steps=5.0)
    both = (Activation("Ann", (call("a2"),), 9.0, planned_steps=9.0), Activation("Bob", (call("b1"),), 4.0))
    shop = (0.0, 60.0)

    def known(actions: dict[str, float], bob: tuple[float, float], speed: float) -> Known:
        return Known(
            actions,
            {"Ann": (0.0, 63.0), "Bob": bob},
            {"Ann": (0.0, 63.0), "Bob": shop},
            {"Ann": 0.0, "Bob": speed},
        )

    steps = (
        Step(0, (ann,), {"Ann": 0.0, "Bob": 2.0}, known({"Ann": 0.0, "Bob": 8.0}, (0.0, 0.0), 30.0)),
        Step(1, (), {"Ann": 1.0, "Bob": 1.0}, known({"Ann": 4.0, "Bob": 7.0}, (0.0, 30.0), 30.0)),
        Step(2, both, {"Ann": 0.0, "Bob": 0.0}, known({"Ann": 3.0, "Bob": 6.0}, shop, 0.0)),
        # Bob did not know for how long he acts, when he was asked.
        Step(3, (), {"Ann": 8.0, "Bob": 3.0}, known({"Ann": 8.0, "Bob": 3.0}, shop, 0.0)),
    )
    return Program("walk", ("Ann", "Bob"), steps, space=Space(4.0, 30.0, 27.0))


async def played(program: Program, told: Told) -> FakeEngine:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_program(program, Target(url, simulation="s", admin_url=url, told=told))
    return engine


def acts_for(engine: FakeEngine) -> dict[str, str | None]:
    return {
        asked.body["messages"][1]["content"]: asked.headers.get("x-agent-acts-for") for asked in engine.asked
    }


async def test_told_nothing_the_proxy_knows_names_only() -> None:
    engine = await played(walk(), Told.NONE)
    assert engine.told == [("PUT s", {}), ("DELETE s", None)]
    assert acts_for(engine) == {"a1": None, "a2": None, "b1": None}


async def test_of_ticks_the_proxy_is_told_and_of_nothing_else() -> None:
    engine = await played(walk(), Told.TICKS)
    ticks = [("POST s/ticks", {"step": step.index}) for step in walk().steps]
    assert engine.told == [("PUT s", {}), *ticks, ("DELETE s", None)]
    assert set(acts_for(engine).values()) == {None}


async def test_a_plan_is_told_once_and_again_when_it_changes_without_a_call() -> None:
    engine = await played(walk(), Told.PLAN)
    assert engine.told == [
        ("PUT s", {}),
        ("POST s/ticks", {"step": 0}),
        ("POST s/actions", {"unit": "steps", "durations": {"Ann": 0.0, "Bob": 8.0}, "create_agents": True}),
        ("POST s/ticks", {"step": 1}),
        ("POST s/ticks", {"step": 2}),
        ("POST s/ticks", {"step": 3}),
        ("POST s/actions", {"unit": "steps", "durations": {"Bob": 3.0}, "create_agents": True}),
        ("DELETE s", None),
    ]
    # What she plans, and not that she meets Bob.
    assert acts_for(engine) == {"a1": "5 steps", "a2": "9 steps", "b1": None}


async def test_positions_are_told_beside_plans_of_those_who_move() -> None:
    engine = await played(walk(), Told.SPATIAL)
    space = {"unit": "steps", "radius": 4.0, "speed": 30.0, "cooldown": 27.0}
    assert engine.told[1] == ("PUT s/space", space)
    assert [body for path, body in engine.told if path == "POST s/positions"] == [
        {
            "positions": {"Ann": [0.0, 63.0], "Bob": [0.0, 0.0]},
            "destinations": {"Ann": [0.0, 63.0], "Bob": [0.0, 60.0]},
            "speeds": {"Ann": 0.0, "Bob": 30.0},
        },
        *(
            {
                "positions": {"Bob": [0.0, y]},
                "destinations": {"Bob": [0.0, 60.0]},
                "speeds": {"Bob": speed},
            }
            for y, speed in ((30.0, 30.0), (60.0, 0.0))
        ),
    ]
    plans = (await played(walk(), Told.PLAN)).told
    assert [one for one in engine.told if one[0] not in ("PUT s/space", "POST s/positions")] == plans


async def test_who_has_talked_is_told_after_where_they_stand() -> None:
    known = Known(
        positions={"Ann": (0.0, 0.0), "Bob": (0.0, 3.0)},
        destinations={"Ann": (0.0, 0.0), "Bob": (0.0, 3.0)},
        speeds={"Ann": 0.0, "Bob": 0.0},
        met=(("Ann", "Bob"),),
    )
    program = Program("town", ("Ann", "Bob"), (Step(1, (), {}, known),), space=Space(4.0, 30.0, 27.0))
    engine = await played(program, Told.SPATIAL)
    assert [path for path, _ in engine.told[-3:]] == ["POST s/positions", "POST s/interactions", "DELETE s"]
    assert engine.told[-2][1] == {"pairs": [["Ann", "Bob"]]}


async def test_a_graph_is_told_before_the_first_step_and_whom_news_reaches_in_each() -> None:
    reached: list[dict[int, tuple[str, ...]]] = [{1: ("Ann",)}, {}, {1: ("Bob", "Cleo"), 2: ("Ann",)}]
    steps = tuple(Step(index, (), {}, Known(reached=one)) for index, one in enumerate(reached))
    program = Program("news", ("Ann", "Bob", "Cleo"), steps, graph=(("Ann", "Bob"), ("Ann", "Cleo")))
    engine = await played(program, Told.PATH)
    assert engine.told == [
        ("PUT s", {}),
        ("PUT s/graph", [["Ann", "Bob"], ["Ann", "Cleo"]]),
        ("POST s/ticks", {"step": 0}),
        ("POST s/activations", {"agents": ["Ann"], "wave": "1", "create_agents": True}),
        ("POST s/ticks", {"step": 1}),
        ("POST s/ticks", {"step": 2}),
        ("POST s/activations", {"agents": ["Bob", "Cleo"], "wave": "1", "create_agents": True}),
        ("POST s/activations", {"agents": ["Ann"], "wave": "2", "create_agents": True}),
        ("DELETE s", None),
    ]


async def test_what_one_body_would_be_too_large_for_is_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesim.workloads.player.MOST_TOLD", 3)
    engine = await played(town(), Told.EXACT)
    parts = [body["distances"] for path, body in engine.told if path.endswith("/distances")]
    assert parts == [{"Ann": 0.0, "Bob": 0.0, "Cleo": 7.0}, {"Dora": None}]


async def test_where_answers_say_it_the_proxy_gets_rules_and_steps_and_the_engine_what_to_say() -> None:
    (step,) = town().steps
    says = tuple(
        replace(one, calls=tuple(replace(call, says="takes 10 minutes") for call in one.calls))
        for one in step.activations
    )
    engine = await played(replace(town(), steps=(replace(step, activations=says),)), Told.ANSWERS)
    assert engine.told[1:3] == [
        ("PUT s/answers", {"rules": ["default"], "unit": "steps", "per_minute": 0.2}),
        ("POST s/ticks", {"step": 4}),
    ]
    assert {asked.body["regex"] for asked in engine.asked} == {"takes 10 minutes [a-z ]*"}
    assert set(acts_for(engine).values()) == {None}


async def test_with_a_path_nobody_says_how_long_they_act() -> None:
    program = town()
    engine = await played(Program("news", program.agents, program.steps, graph=()), Told.PATH)
    assert set(acts_for(engine).values()) == {None}


async def test_hints_take_the_place_of_exact_distances() -> None:
    (step,) = town().steps
    wrong = replace(step, hints=Hints({"Ann": 2.5, "Dora": math.inf}, {"Bob": 1.5}))
    silent = replace(step, index=5, hints=Hints())
    engine = await played(replace(town(), steps=(wrong, silent)), Told.EXACT)
    distances = {"Ann": 2.5, "Dora": None}
    assert engine.told == [
        ("PUT s", {}),
        ("POST s/ticks", {"step": 4}),
        ("POST s/distances", {"unit": "steps", "distances": distances, "create_agents": True}),
        ("POST s/ticks", {"step": 5}),
        ("DELETE s", None),
    ]
    told = [
        (asked.body["messages"][1]["content"], asked.headers.get("x-agent-acts-for"))
        for asked in engine.asked
    ]
    assert [header for text, header in told if text == "b1"] == ["1.5 steps", None]
    assert {header for text, header in told if text != "b1"} == {None}


@pytest.mark.parametrize("told", [Told.PLAN, Told.SPATIAL, Told.PATH, Told.TICKS])
def test_there_must_be_somebody_to_tell_something_to(told: Told) -> None:
    with pytest.raises(Impossible, match=told.value):
        Target("http://127.0.0.1:1", simulation="s", told=told)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("refuse", "InternalServerError"),
        ("break", "the stream ended before the answer did"),
        ("silent", "the answer came without usage"),
    ],
)
async def test_what_goes_wrong_is_recorded_and_the_chain_goes_on(failure: str, words: str) -> None:
    engine = FakeEngine(failure=failure)
    async with serve(engine.app()) as url:
        (step,) = await play_program(town(), Target(url))
    assert len(step.calls) == 3
    assert all(words in (one.error or "") for one in step.calls)


async def test_an_engine_that_is_not_there_is_an_error_of_each_call() -> None:
    async with serve(FakeEngine().app()) as url:
        pass
    (step,) = await play_program(town(), Target(url))
    assert all("APIConnectionError" in (one.error or "") for one in step.calls)


async def test_nothing_is_tried_twice() -> None:
    engine = FakeEngine(failure="refuse")
    async with serve(engine.app()) as url:
        await play_program(town(), Target(url))
    assert len(engine.asked) == 3


async def test_a_refused_hint_ends_the_play() -> None:
    engine = FakeEngine(refused_hints=422)
    async with serve(engine.app()) as url:
        with pytest.raises(HintRefused, match=r"PUT .*s: 422"):
            await play_program(town(), Target(url, simulation="s", admin_url=url))
    assert engine.asked == []


async def test_a_simulation_that_has_gone_already_is_gone() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url, playing(Target(url, simulation="s", admin_url=url)):
        engine.refused_hints = 404
    assert engine.told[-1] == ("DELETE s", None)


def test_hints_without_a_name_for_the_simulation_are_impossible() -> None:
    with pytest.raises(Impossible):
        Target("http://127.0.0.1:1", admin_url="http://127.0.0.1:2")


def test_the_fake_engine_tokenizes_messages_one_after_the_other() -> None:
    assert len(prompt_ids([{"role": "user", "content": "a b"}, {"role": "user", "content": "c"}])) == 5
