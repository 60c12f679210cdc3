from scalesim.proxy.recognition.learned.callers import Callers
from scalesim.proxy.recognition.learned.families import Families
from scalesim.proxy.recognition.learned.pace import Pace
from scalesim.proxy.recognition.learned.place import Before, Place, Where
from scalesim.proxy.recognition.learned.places import Known, Value
from scalesim.proxy.recognition.learned.ranking import Ranking
from scalesim.proxy.recognition.learned.reading import Read
from scalesim.proxy.recognition.prompt import Message, Prompt


class Lessons:
    def __init__(self, max_places: int = 100) -> None:
        self.pace = Pace()
        self.callers = Callers(100)
        self.ranking = Ranking(self.pace, self.callers, max_places=max_places, max_values=100)

    def at_once(self, *texts: str) -> None:
        begun: list[tuple[list[tuple[Known, str]], str]] = []
        for text in texts:
            self.pace.calls += 1
            read = Read(Prompt((Message("user", text),)))
            seen: list[tuple[Known, str]] = []
            best, _, _ = self.ranking.look_up(read, read.ending(), seen)
            self.ranking.learn(read, read.ending(), seen, best)
            begun.append((seen, read.ending()))
        for seen, kind in begun:
            for known, value in seen:
                known.leave(value, kind)
            self.ranking.judge_if_due()


def test_words_that_speak_to_somebody_are_ranked_at_once() -> None:
    lessons = Lessons()
    lessons.at_once("You are Ann Lee.\nAct.")
    assert lessons.ranking.ranked[0].place == Place(Where.CUE, "you are", Before.LINE)


def test_what_comes_back_is_ranked_when_it_has_come_back() -> None:
    lessons = Lessons()
    for step in range(12):
        lessons.at_once(
            *(
                f"Step: {step}\nWho: {who}\nPot: {step * 7 + len(who)}\nGo."
                for who in ("Ann", "Ben", "Cleopatra")
            )
        )
    assert lessons.ranking.ranked[0].place == Place(Where.KEY, "Who:")
    assert lessons.ranking.told
    assert lessons.pace.settled
    assert Place(Where.KEY, "Step:") not in [known.place for known in lessons.ranking.ranked]


def test_places_are_bounded() -> None:
    lessons = Lessons(max_places=20)
    for number in range(50):
        lessons.at_once("\n".join(f"key {number} {line}: x" for line in range(10)))
    assert lessons.ranking.sizes()["learned_places"] == 20


def test_a_key_that_was_there_once_is_not_followed() -> None:
    lessons = Lessons()
    for number in range(30):
        lessons.at_once(f"Who: Ann\nkey {number}: x")
    assert lessons.ranking.sizes()["learned_places"] < 15


def test_a_name_of_a_known_caller_is_not_likely_to_be_who_calls() -> None:
    lessons = Lessons()
    for who in ("Ann Lee", "Ben Ito"):
        lessons.at_once(f"Speaker: {who}\nScore it.")
    read = Read(Prompt((Message("user", "Speaker: Ann Lee\nScore it."),)))
    seen: list[tuple[Known, str]] = []
    lessons.ranking.learn(read, "kind", seen, None)
    likely = lessons.ranking.likely(seen)
    assert likely is not None
    assert likely[2] == "Ann Lee"
    lessons.callers.of(Known(Place(Where.CUE, "you are", Before.LINE)), "Ann Lee", Value(), Families(), "x")
    assert lessons.ranking.likely(seen) is None
