"""The English words that say who is spoken to, and who is no agent."""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


CUE_WEIGHTS = {"your name is": 4.0, "the role of": 3.5, "you are": 3.0, "you're": 3.0, "pretend to be": 3.0}
"""Words that address somebody: the higher, the sooner what follows is who calls. On the scale of `Known.score`."""

OTHER_CUE = 2.5
"""Weight of the cues that may also be said of others: somebody's words are quoted, somebody is acted as."""

CUES = (
    *CUE_WEIGHTS,
    *_listed("my name is, i am, act as, acting as, speak as, speaking as, answer as, respond as, reply as"),
    *_listed("impersonate, behalf of"),
    ", named",
)

ADDRESSED = ("you are", "you're")
"""Cues that say as what somebody is spoken to."""

PHRASES = (*ADDRESSED, "i am")
"""Cues after which a description may stand instead of a name."""

NO_NAMES = frozenset(
    _listed(
        "A, An, The, I, It, In, On, At, As, And, Or, Not, Now, No, Also, Here, There, This, That, These, Those, Your, You, My, Me,"
        "We, Our, Their, His, Her, He, She, They, What, When, Where, Who, Why, How, If, Please, Do, Be, Yes, All, Some, Any, Every,"
        "Each, For, From, To, Of, With"
    )
)
"""Words with which a sentence begins, and no name."""

TITLES = frozenset({"Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "St."})
"""They end in a dot, but no sentence does there."""

NAMED_KEYS = frozenset(
    _listed(
        "name, your name, agent, agent name, agent id, agent_name, agent_id, agent_unique_id, unique_id,"
        "character, character name, your character, about you, who you are, persona, your persona, profile, your profile,"
        "identity, your identity, self-description, self description, biography, your biography"
    )
)
"""Keys and headings that say that an identity follows."""

MASTERS = _listed(
    "game master, gamemaster, dungeon master, narrator, storyteller, moderator, referee, evaluator, judge, grader, rater, director,"
    "orchestrator, simulator of, world simulator, environment simulator, the environment, selector, speaker selection, critic of,"
    "annotator, scorer, assessor, impartial"
)
"""Roles of callers that are not agents: they speak about the agents, each in turn."""
