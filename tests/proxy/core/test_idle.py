from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.agent import Agent
from scalesim.proxy.core.idle import Idle
from scalesim.proxy.core.model import AgentName, Mode, SimulationId, owner_of
from scalesim.proxy.core.simulation import Simulation

Deed = Literal["seen", "gone", "back"]


@given(st.lists(st.tuples(st.sampled_from(("seen", "gone", "back")), st.integers(0, 4)), max_size=40))
def test_it_is_a_queue_of_which_anyone_may_leave(history: list[tuple[Deed, int]]) -> None:
    agents = agents_of(5)
    idle, queue = Idle(), list[Agent]()
    for deed, number in history:
        agent = agents[number]
        if deed == "seen":
            idle.see(agent)
            if agent in queue:
                queue.append(queue.pop(queue.index(agent)))
        elif deed == "gone":
            idle.remove(agent)
            if agent in queue:
                queue.remove(agent)
        elif agent not in queue:
            idle.add(agent)
            queue.append(agent)
        assert list(idle) == queue
        assert [agent in idle for agent in agents] == [agent in queue for agent in agents]
        assert idle.oldest is (queue[0] if queue else None)


def agents_of(count: int) -> list[Agent]:
    town = Simulation(SimulationId("town"), Mode.ON, 0.0)
    names = [AgentName(str(number)) for number in range(count)]
    return [Agent(name, owner_of(town.id, name), town) for name in names]
