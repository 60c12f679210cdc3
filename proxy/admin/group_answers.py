"""What the admin API answers of the group of proxies that this one belongs to."""

from __future__ import annotations

from pydantic import BaseModel, Field, JsonValue

from scalesim.proxy.group_status import MemberStatus

from .answers import example

GROUP_EXAMPLE: dict[str, JsonValue] = {
    "group": "default",
    "role": "follows",
    "leader_url": "http://10.0.0.7:8001",
    "token": None,
    "lease_left_s": 0.0,
    "lag_s": 0.31,
    "outbox": 2,
    "told": 5120,
    "dropped": 0,
    "missed": 0,
    "garbled": 0,
    "skew_s": 0.0002,
    "problem": "",
}


class GroupAnswer(BaseModel):
    model_config = example(GROUP_EXAMPLE)

    group: str
    role: str = Field(description="leads: it plans and commands the engines; or follows.")
    leader_url: str | None = Field(description="Its admin listener; null: nobody is known to lead.")
    token: int | None = Field(description="With which this one leads: engines refuse lower ones.")
    lease_left_s: float = Field(description="So long it leads at least; 0 where it does not.")
    lag_s: float | None = Field(description="How old what the leader wrote down last is.")
    outbox: int = Field(description="Records of calls that the others are still to be told.")
    told: int = Field(description="Records so far.")
    dropped: int = Field(description="Records that nobody heard: Redis was away for too long.")
    missed: int = Field(description="Records of others that never came; counted where it leads.")
    garbled: int = Field(description="Values in Redis that could not be read.")
    skew_s: float | None = Field(description="How far its idea of Redis's clock may be off.")
    problem: str = Field(description="Why Redis cannot be used now; empty if it can.")

    @classmethod
    def of(cls, group: str, one: MemberStatus) -> GroupAnswer:
        return cls(
            group=group,
            role="leads" if one.leads else "follows",
            leader_url=one.leader_url,
            token=one.token,
            lease_left_s=round(one.lease_left_s, 3),
            lag_s=None if one.lag_s is None else round(one.lag_s, 3),
            outbox=one.waiting,
            told=one.told,
            dropped=one.dropped,
            missed=one.missed,
            garbled=one.garbled,
            skew_s=one.skew_s,
            problem=one.problem,
        )
