"""Calls go where their agent's memory is, new agents where there is room: rendezvous hashing with bounded loads.

No engine runs more calls than its bound while another has room; what is too much makes a detour, and its memory stays where it
is. Of the engines with room for calls and memory, those that hold a new agent's adapter or the beginning of its prompt go
before others, and a hash chooses among equals: the same one in every process. While an engine holds much less than its share,
whoever is new and shares something with others goes there, away from its kind.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..placing import (
    Asked,
    Bounds,
    Placed,
    Site,
    Why,
    drawn_together,
    has_room_for_a_call,
    left_behind,
    with_room_for_calls,
    with_room_for_memory,
)


def place(asked: Asked, sites: Sequence[Site], bounds: Bounds) -> Placed:
    if len(sites) == 1 and asked.home in (None, sites[0].engine):
        # What follows, for most who run us: one engine is never more than fairly full.
        at_home = asked.home is not None and asked.key is not None
        return Placed(
            sites[0].engine, Why.ALONE if asked.key is None else Why.HOME if at_home else asked.without_home
        )
    if asked.home is not None and asked.key is not None:
        home = next((site for site in sites if site.engine == asked.home), None)
        if home is None or not has_room_for_a_call(home, sites, bounds):
            return Placed(drawn_together(asked, with_room_for_calls(sites, bounds)).engine, Why.DETOUR)
        return Placed(home.engine, Why.HOME)
    free = with_room_for_calls(sites, bounds)
    if asked.key is None:
        return Placed(drawn_together(asked, free).engine, Why.ALONE)
    # What is full of calls has its memory counted all the same: an engine is not roomy because others are busy.
    # Where all agents are of one kind, those that hold it would have room for all of them, and an engine would stay empty.
    shares = asked.adapter is not None or asked.prefix is not None
    behind = left_behind(sites, asked.size_tokens, bounds.spare_together) if shares else []
    roomy = behind or with_room_for_memory(sites, asked.size_tokens, bounds.spare_memory)
    more = behind or with_room_for_memory(sites, asked.size_tokens, bounds.spare_together)
    if len(free) < len(sites):
        may = {site.engine for site in free}
        roomy = [site for site in roomy if site.engine in may]
        more = [site for site in more if site.engine in may]
        roomy = roomy or with_room_for_memory(free, asked.size_tokens, bounds.spare_memory)
    return Placed(drawn_together(asked, roomy, more).engine, asked.without_home)
