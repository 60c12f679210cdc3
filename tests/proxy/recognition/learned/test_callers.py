from scalesim.proxy.core.model import AgentName
from scalesim.proxy.recognition.learned.callers import Callers, Merged, label_of, name_of
from scalesim.proxy.recognition.learned.families import Families
from scalesim.proxy.recognition.learned.place import Before, Place, Where
from scalesim.proxy.recognition.learned.places import Known, Value

CUE = Place(Where.CUE, "you are", Before.LINE)
LINE = Place(Where.EDGE, "last line")


def of(callers: Callers, known: Known, value: str, entry: Value | None = None) -> AgentName:
    return callers.of(known, value, entry or Value(), Families(), "x")


def seen(place: Place, *values: str) -> Known:
    known = Known(place)
    for value in values:
        known.see(value, "kind", 100, 1)
    return known


def test_a_line_is_named_by_what_differs() -> None:
    known = seen(LINE, "Now comes the turn of Ann Lee.", "Now comes the turn of Ben Ito.")
    assert name_of(known, "Now comes the turn of Ann Lee.") == "Ann Lee"


def test_a_value_without_a_name_is_named_with_its_key() -> None:
    assert name_of(Known(Place(Where.KEY, "{'agent_id':")), "11") == "agent_id: 11"


def test_the_same_name_in_two_templates_is_one_caller() -> None:
    callers = Callers(10)
    one = of(callers, seen(CUE), "Ann Lee")
    assert of(callers, seen(LINE, "I am Ann Lee", "I am Ben Ito"), "I am Ann Lee") == one


def test_two_values_of_one_place_are_two_callers_even_if_their_names_are_alike() -> None:
    callers, known = Callers(10), Known(Place(Where.KEY, "Who:"))
    one, other = of(callers, known, "Ann Lee, who bakes"), of(callers, known, "Ann Lee, who sings")
    assert one == "Ann Lee"
    assert other.startswith("Ann Lee ")


def test_who_was_taken_for_new_is_merged_where_the_words_say_who_it_is() -> None:
    callers = Callers(10)
    of(callers, Known(CUE), "Ann Lee", Value(firsts=[AgentName("caller 1"), AgentName("caller 2")]))
    assert callers.merges() == [
        Merged(AgentName("caller 1"), AgentName("Ann Lee")),
        Merged(AgentName("caller 2"), AgentName("Ann Lee")),
    ]
    assert callers.merges() == []
    assert callers.resolved(AgentName("caller 2")) == "Ann Lee"


def test_a_name_by_itself_is_a_label() -> None:
    assert label_of(Known(Place(Where.KEY, "Who:")), "Ann Lee") == "Ann Lee"
    assert label_of(Known(Place(Where.KEY, "Seen:")), "Ann Lee likes it") is None


def test_below_a_heading_a_label_is_set_off() -> None:
    below = Known(Place(Where.AFTER, "Persona:"))
    assert label_of(below, "Ann Lee, a baker") == "Ann Lee"
    assert label_of(below, "Ann Lee bakes") is None


def test_of_lines_that_begin_alike_the_label_is_what_differs() -> None:
    known = seen(LINE, "Now comes the turn of Ann Lee.", "Now comes the turn of Ben Ito.")
    assert label_of(known, "Now comes the turn of Ann Lee.") == "Ann Lee"
    assert label_of(seen(LINE, "All is well.", "Ben Ito is gone."), "All is well.") is None


def test_a_name_that_is_a_named_callers_is_never_merged_away() -> None:
    callers = Callers(10)
    of(callers, Known(CUE), "Ben Ito")
    of(callers, Known(CUE), "Ann Lee", Value(firsts=[AgentName("Ben Ito"), AgentName("Ann Lee")]))
    assert callers.merges() == []


def test_a_name_that_was_merged_away_is_not_given_again() -> None:
    callers = Callers(10)
    of(callers, Known(CUE), "Ann Lee", Value(firsts=[AgentName("Ben Ito")]))
    name = of(callers, Known(CUE), "Ben Ito")
    assert name.startswith("Ben Ito ")
    assert callers.resolved(name) == name


def test_callers_are_bounded() -> None:
    callers, known = Callers(10), Known(CUE)
    for number in range(100):
        of(callers, known, f"Ann{number}")
        callers.merge(AgentName(f"caller {number}"), AgentName(f"Ann{number}"))
    assert callers.size <= 10
    assert callers.merged <= 10
    assert len(callers.merges()) <= 10
