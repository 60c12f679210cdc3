"""Which slot a call gets, and which a load."""

from __future__ import annotations

from random import Random

from scalesim.engine_adapters.llama_cpp_slots import PATIENT_LOOKS, Copy, Slot, Slots
from scalesim.proxy.core.model import Owner

ANN, BOB, EVE, KIM = map(Owner, ("town/ann", "town/bob", "town/eve", "town/kim"))


class Server:
    """The slots as llama.cpp tells of them."""

    def __init__(self, slots: int = 2, files: int = 4) -> None:
        self.table = Slots([Slot(number, 512) for number in range(slots)], [f"{n}.bin" for n in range(files)])
        self.told: list[dict[str, object]] = [{"id": number, "n_ctx": 512} for number in range(slots)]
        self.tasks = 0
        self.look()

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.table.look(self.told)

    def runs(self, number: int, *, is_over: bool = True, tokens: int = 100) -> None:
        """A task that nobody need have been told of."""
        self.tasks += 1
        self.told[number] |= {"id_task": self.tasks, "n_prompt_tokens": tokens, "is_processing": not is_over}

    def call(self, owner: Owner, *, is_over: bool = True) -> int:
        number = self.table.take(owner).number
        self.runs(number, is_over=is_over)
        self.look()
        return number

    def owners(self) -> list[Owner | None]:
        return [slot.owner for slot in self.table.slots]


def test_an_owner_s_calls_go_to_its_slot() -> None:
    here = Server()
    first, second = here.call(ANN), here.call(BOB)
    assert first != second
    assert [here.call(owner) for owner in (ANN, BOB, ANN)] == [first, second, first]


def test_without_an_order_the_longest_unused_leaves() -> None:
    here = Server()
    ann, _ = here.call(ANN), here.call(BOB)
    assert here.call(EVE) == ann
    assert set(here.owners()) == {BOB, EVE}


def test_with_an_order_who_calls_last_leaves_and_who_is_not_in_it_before_all_others() -> None:
    here = Server(3)
    for owner in (ANN, BOB, EVE):
        here.call(owner)
    here.table.order = {ANN: 1.0, BOB: 9.0}
    here.call(KIM)
    assert set(here.owners()) == {ANN, BOB, KIM}
    here.table.order[KIM] = 2.0
    here.call(EVE)
    assert set(here.owners()) == {ANN, KIM, EVE}


def test_a_pinned_owner_leaves_last_and_still_makes_room_where_all_are_pinned() -> None:
    here = Server()
    here.call(ANN)
    here.call(BOB)
    here.table.order = {BOB: 1.0}
    here.table.pin([ANN])
    here.call(EVE)
    assert set(here.owners()) == {ANN, EVE}
    here.table.pin([EVE])
    here.call(BOB)
    assert BOB in here.owners()


def test_a_call_is_not_sent_where_another_one_runs_if_there_is_room_elsewhere() -> None:
    here = Server()
    ann = here.call(ANN, is_over=False)
    here.call(BOB)
    here.table.order = {BOB: 1.0}
    assert here.call(EVE) != ann


def test_calls_that_have_not_begun_are_spread_over_all_slots() -> None:
    here = Server(3)
    taken = [here.table.take(Owner(f"town/{number}")).number for number in range(6)]
    assert sorted(taken) == [0, 0, 1, 1, 2, 2]


def test_a_slot_in_which_somebody_else_ran_is_nobody_s() -> None:
    here = Server()
    ann = here.call(ANN)
    here.runs(ann)
    here.look()
    assert here.owners()[ann] is None


def test_a_call_that_waits_long_for_its_turn_is_still_its_owner_s() -> None:
    here = Server()
    ann = here.table.take(ANN).number
    here.look(PATIENT_LOOKS // 2)
    here.runs(ann)
    here.look()
    assert here.owners()[ann] == ANN


def test_a_call_that_never_came_holds_no_slot_for_ever() -> None:
    here = Server()
    here.table.take(ANN)
    here.look(PATIENT_LOOKS + 2)
    assert here.owners() == [None, None]
    assert all(slot.is_idle for slot in here.table.slots)


def test_a_slot_that_the_server_cleared_is_nobody_s() -> None:
    here = Server()
    ann = here.call(ANN)
    here.told[ann]["n_prompt_tokens"] = 0
    here.look()
    assert here.owners()[ann] is None


def test_a_load_gets_the_slot_of_somebody_strictly_farther() -> None:
    here = Server()
    here.call(ANN)
    bob = here.call(BOB)
    here.table.order = {ANN: 1.0, BOB: 5.0, EVE: 3.0}
    slot = here.table.for_load(EVE, 3.0)
    assert slot is not None
    assert slot.number == bob
    assert here.table.for_load(EVE, 5.0) is not None  # what the order says of it counts
    assert here.table.for_load(KIM, 5.0) is None
    here.table.pin([BOB])
    assert here.table.for_load(EVE, 3.0) is None


def test_a_load_does_not_take_a_slot_in_which_a_call_runs_or_is_about_to() -> None:
    here = Server()
    here.call(ANN, is_over=False)
    here.table.take(BOB)
    assert here.table.for_load(EVE, 0.0) is None


def test_what_changed_since_its_copy_is_copied_and_who_leaves_first_first() -> None:
    here = Server(3)
    for owner in (ANN, BOB, EVE):
        here.call(owner)
    here.table.order = {ANN: 1.0, BOB: 2.0}
    assert [slot.owner for slot in here.table.to_copy(2)] == [EVE, BOB]
    for slot in here.table.slots:
        slot.copied = slot.task
    assert here.table.to_copy(2) == []
    here.call(BOB)
    assert [slot.owner for slot in here.table.to_copy(2)] == [BOB]
    here.table.uncopied = frozenset({BOB})
    assert here.table.to_copy(2) == []


def test_there_are_never_more_copies_than_files_and_nearer_ones_stay() -> None:
    table = Slots([Slot(0, 512)], ["a", "b"], order={ANN: 1.0, BOB: 2.0, EVE: 3.0})
    for owner in (ANN, BOB):
        file = table.file_for(owner)
        assert file is not None
        table.copies[owner] = Copy(file, 1, 1)
    assert {copy.file for copy in table.copies.values()} == {"a", "b"}
    assert table.file_for(ANN) == table.copies[ANN].file
    assert table.file_for(EVE) is None
    table.order = {ANN: 1.0, EVE: 3.0}
    assert table.file_for(EVE) == "b"
    assert BOB not in table.copies


def test_an_owner_is_in_one_slot_at_most_whatever_happens() -> None:
    draw = Random(1)
    crowd = [Owner(f"town/{number}") for number in range(9)]
    here = Server(4)
    for _ in range(2_000):
        match draw.randrange(5):
            case 0 | 1:
                here.call(draw.choice(crowd), is_over=draw.random() < 0.7)
            case 2:
                here.table.take(draw.choice(crowd))
            case 3:
                here.look(draw.randrange(30))
            case 4:
                here.runs(draw.randrange(4), tokens=draw.randrange(2) * 50)
        there = [owner for owner in here.owners() if owner is not None]
        assert len(there) == len(set(there))
        assert all(slot.sent >= 0 for slot in here.table.slots)
