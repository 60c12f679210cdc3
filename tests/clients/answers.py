"""What a model would answer, in the form that each client demands; of what is said nothing matters but that it differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

Message = dict[str, Any]
"""An assistant's, as the OpenAI API has it."""

SUBJECTS = [
    "trains",
    "gardens",
    "housing",
    "football",
    "elections",
    "bread",
    "rain",
    "libraries",
    "cycling",
    "jazz",
]
OPINIONS = ("great", "overrated", "in danger", "not what they were")
DIRECTIONS = ["North", "South", "East", "West", "NorthEast", "NorthWest", "SouthEast", "SouthWest"]
REASONS = ("company", "food", "quiet", "news", "shade", "a bench", "an argument", "the market")
HOURS = ("noon", "dusk", "dinner", "it rains", "the shops close")
ACCOUNTS = 49


def oasis(body: Mapping[str, Any], random: Random) -> Message:
    """Tool calls, two now and then; without tools it is an interview."""
    offered = {one["function"]["name"] for one in body.get("tools") or ()}
    subject, other, opinion = random.choice(SUBJECTS), random.choice(SUBJECTS), random.choice(OPINIONS)
    if not offered:
        return _said(f"I think {subject} are {opinion}, more than {other}.")
    post = random.randint(1, 10)
    acts: list[tuple[str, dict[str, Any]]] = [
        (
            "create_post",
            {"content": f"{subject} are {opinion}, because of {other}.{' Really.' * random.randint(0, 5)}"},
        ),
        ("create_comment", {"post_id": post, "content": f"I do not agree about {subject}."}),
        ("like_post", {"post_id": post}),
        ("follow", {"followee_id": random.randint(1, ACCOUNTS)}),
        ("search_posts", {"query": subject}),
        ("refresh", {}),
        ("trend", {}),
        ("do_nothing", {}),
    ]
    possible = [act for act in acts if act[0] in offered]
    return _called(random, random.sample(possible, 1 + (random.random() < 0.2)))


def mesa_llm(body: Mapping[str, Any], random: Random) -> Message:
    """A thought and what to do next, as JSON where that is asked for; then, told to do that, a tool call."""
    offered = {one["function"]["name"] for one in body.get("tools") or ()}
    reason, hour = random.choice(REASONS), random.choice(HOURS)
    if body.get("tool_choice") == "required":
        if "speak_to" in offered and random.random() < 0.25:
            words = {
                "listener_agents_unique_ids": [random.randint(1, 20)],
                "message": f"Have you seen {reason}?",
            }
            return _called(
                random, [("speak_to", words)], f"I ask, {random.randint(100, 99_999)} seconds long."
            )
        step = ("move_one_step", {"direction": random.choice(DIRECTIONS)})
        # No two are alike, so that it can be told to whom each went.
        return _called(random, [step], f"For {reason}, for about {random.randint(100, 99_999)} seconds.")
    where = random.choice(DIRECTIONS)
    # Three of four say what for. The rest are short, and agents say the same.
    short = random.choice((f"I move one step to the {where}.", f"Go {where}."))
    action = f"I move one step to the {where}, to look for {reason} before {hour}."
    action = action if random.random() < 0.75 else short
    thought = f"It is {random.choice(('calm', 'busy', 'odd'))} here, so I go on."
    if body.get("response_format"):
        return _said(json.dumps({"reasoning": thought, "action": action}))
    return _said(f"Thought 1: {thought}\nThought 2: I remember {reason}.\nAction: {action}")


def _said(content: str) -> Message:
    return {"role": "assistant", "content": content}


def _called(random: Random, calls: list[tuple[str, dict[str, Any]]], content: str | None = None) -> Message:
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {
                "id": f"call_{random.getrandbits(48):012x}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for name, arguments in calls
        ],
    }
