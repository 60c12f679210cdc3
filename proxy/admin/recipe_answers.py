"""What is sent and answered about recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from scalesim.proxy.recognition.guess import CallerKind
from scalesim.proxy.recognition.ladder import Fit
from scalesim.proxy.recognition.recipes.reading import Read
from scalesim.proxy.recognition.recipes.recipe import MAX_BYTES, Call, Recipe
from scalesim.proxy.recognition.recipes.trial import SHOWN, TracedTrial, pair_f1

from .answers import example
from .traces import TraceName

_SOURCE: dict[str, JsonValue] = {
    "package": "camel-oasis",
    "version": "0.2.5",
    "file": "oasis/social_platform/config/user.py",
}
_RECIPE: dict[str, JsonValue] = {
    "name": "oasis",
    "framework": "OASIS (CAMEL-AI)",
    "read_from": _SOURCE,
    "verified": True,
    "own": False,
    "clock": "steps",
    "kinds": 2,
    "calls": 310,
    "named": 308,
    "confidence": 0.99,
}
_KIND: dict[str, JsonValue] = {
    "name": "act",
    "marks": [{"place": "first system", "text": "# SELF-DESCRIPTION"}],
    "names_by": ["in the first system message behind 'Your name is '"],
    "caller": None,
    "confidence": 0.99,
    "from_answer": False,
    "ends": True,
    "tells_step": False,
    "tells_duration": False,
}
_TEXT = """name = "mytown"
framework = "My town"
verified = false
read_from = { package = "mytown", version = "1.4", file = "mytown/prompts.py" }

[[calls]]
name = "act"
marks = { in = "first system", text = "You live in Mytown, a town of" }
who = { in = "first system", after = "You are ", until = ", a " }
"""
RecipeText = Annotated[str, StringConstraints(max_length=MAX_BYTES)]


class SourceAnswer(BaseModel):
    package: str
    version: str
    file: str


class RecipeAnswer(BaseModel):
    model_config = example(_RECIPE)

    name: str
    framework: str
    read_from: SourceAnswer = Field(description="What it was read from.")
    verified: bool = Field(description="A real run of the framework was recognised with it.")
    own: bool = Field(description="From the user's folder; else it comes with the proxy.")
    clock: str = Field(description="What its steps count: steps, or minutes of the simulated world.")
    kinds: int = Field(description="Of requests that it knows.")
    calls: int = Field(description="That it fitted, since the proxy was started.")
    named: int = Field(description="Of them, those whose caller it named.")
    confidence: float | None = Field(description="Of those names, on average; null: there were none.")

    @classmethod
    def of(cls, recipe: Recipe, fit: Fit) -> Self:
        return cls(**_told(recipe, fit))


class MarkAnswer(BaseModel):
    place: str = Field(description="Which message.")
    text: str


class KindAnswer(BaseModel):
    model_config = example(_KIND)

    name: str
    marks: list[MarkAnswer] = Field(description="All of them stand in a request of this kind.")
    names_by: list[str] = Field(
        description="Where its caller's name stands, in the order in which that is tried."
    )
    caller: str | None = Field(description="All such requests come from this one, which is no agent.")
    confidence: float
    from_answer: bool = Field(description="It repeats an answer: it comes from whoever got that.")
    ends: bool = Field(description="With its answer the activation ends.")
    tells_step: bool
    tells_duration: bool = Field(description="Its answer tells how long the agent acts.")

    @classmethod
    def of(cls, call: Call) -> KindAnswer:
        return cls(
            name=call.name,
            marks=[MarkAnswer(place=str(mark.place), text=mark.text) for mark in call.marks],
            names_by=[find.why for find in call.who],
            caller=call.caller,
            confidence=call.confidence,
            from_answer=call.from_answer,
            ends=call.ends,
            tells_step=call.step is not None,
            tells_duration=call.reading is not None,
        )


class WholeRecipeAnswer(RecipeAnswer):
    model_config = example({**_RECIPE, "note": "", "requests": [_KIND], "text": _TEXT})

    note: str
    requests: list[KindAnswer] = Field(
        description="The first of these kinds whose marks a request has is the one."
    )
    text: str = Field(description="As it stands in its file (TOML).")

    @classmethod
    def whole(cls, recipe: Recipe, fit: Fit, text: str) -> WholeRecipeAnswer:
        return cls(
            **_told(recipe, fit),
            note=recipe.note,
            requests=[KindAnswer.of(one) for one in recipe.calls],
            text=text,
        )


class RecipesAnswer(BaseModel):
    model_config = example({"folder": "/etc/scalesim/recipes", "problems": [], "recipes": [_RECIPE]})

    folder: str | None = Field(description="Of the user's recipes; null: there is none, and none can be put.")
    problems: list[str] = Field(description="What is wrong with files of the folder now; the first 64.")
    recipes: list[RecipeAnswer]


class RecipeBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"text": _TEXT}})

    text: RecipeText = Field(description="A recipe in TOML, as docs/recipes.md has it.")


class CheckedAnswer(BaseModel):
    model_config = example({"name": "mytown", "framework": "My town", "requests": [_KIND]})

    name: str
    framework: str
    requests: list[KindAnswer]

    @classmethod
    def of(cls, recipe: Recipe) -> CheckedAnswer:
        return cls(
            name=recipe.name,
            framework=recipe.framework,
            requests=[KindAnswer.of(one) for one in recipe.calls],
        )


class TrialBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "prompt": "# SELF-DESCRIPTION\nYour name is Ann.\nPlease perform social media actions"
            }
        },
    )

    recipe: RecipeText | None = Field(
        None,
        description="A recipe in TOML that is tried as if it were in the folder; else those in force alone.",
    )
    prompt: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None, description="A piece of text: it is taken for a system message and for the user's."
    )
    request: dict[str, JsonValue] | None = Field(None, description="The body of a request to the engine.")
    route: Annotated[str, StringConstraints(max_length=200)] = Field(
        "/v1/chat/completions", description="Of that request."
    )
    trace: TraceName | None = Field(None, description="The name of a trace with full text.")

    @model_validator(mode="after")
    def one_thing(self) -> Self:
        if sum(one is not None for one in (self.prompt, self.request, self.trace)) != 1:
            raise ValueError("give one of prompt, request and trace")
        return self


class FoundAnswer(BaseModel):
    recipe: str
    request: str = Field(description="Which of its kinds of requests it is.")
    agent: str | None = Field(description="Who calls; null: the request does not say.")
    kind: CallerKind | None = Field(description="other: a game master, an evaluator or the like.")
    confidence: float | None
    why: str = Field(description="What in the request said so.")
    step: float | None = Field(description="The simulation's, if the request says it.")
    from_answer: bool = Field(description="It repeats an answer, and is of whoever got that.")

    @classmethod
    def of(cls, read: Read) -> FoundAnswer:
        guess = read.guess
        return cls(
            recipe=read.recipe,
            request=read.call,
            agent=None if guess is None else guess.agent,
            kind=None if guess is None else guess.kind,
            confidence=None if guess is None else guess.confidence,
            why="" if guess is None else guess.why,
            step=read.step,
            from_answer=read.from_answer,
        )


class TriedKindAnswer(BaseModel):
    recipe: str
    request: str
    calls: int
    named: int
    from_answer: int
    with_step: int
    with_duration: int


class TriedCallerAnswer(BaseModel):
    recipe: str
    caller: str
    kind: CallerKind
    calls: int
    why: str


class BeginningAnswer(BaseModel):
    text: str
    calls: int


class TracedAnswer(BaseModel):
    calls: int = Field(description="Of the trace that have their text.")
    was_cut: bool = Field(description="There are more, which were not looked at.")
    unknown: int = Field(description="That no recipe knows.")
    without_prompt: int
    skipped_lines: int = Field(description="That could not be read.")
    kinds: list[TriedKindAnswer] = Field(description="Of requests, by the recipe that knows them.")
    callers: list[TriedCallerAnswer] = Field(description="Those with the most calls.")
    beginnings: list[BeginningAnswer] = Field(
        description="How requests begin that no recipe knows: the most usual."
    )
    agreement: float | None = Field(
        description="Pair-counting F1 of the agents that were found and those that were told outright; null: none were."
    )

    @classmethod
    def of(cls, tried: TracedTrial) -> TracedAnswer:
        trial = tried.trial
        return cls(
            calls=trial.calls,
            was_cut=tried.was_cut,
            unknown=trial.unknown,
            without_prompt=trial.without_prompt,
            skipped_lines=tried.skips,
            kinds=[
                TriedKindAnswer(
                    recipe=recipe,
                    request=call,
                    calls=kind.calls,
                    named=kind.named,
                    from_answer=kind.from_answer,
                    with_step=kind.steps,
                    with_duration=kind.durations,
                )
                for (recipe, call), kind in trial.kinds.items()
            ],
            callers=[
                TriedCallerAnswer(recipe=key[0], caller=key[1], kind=key[2], calls=calls, why=trial.why[key])
                for key, calls in trial.callers.most_common(SHOWN)
            ],
            beginnings=[
                BeginningAnswer(text=text, calls=calls) for text, calls in trial.beginnings.most_common(SHOWN)
            ],
            agreement=round(pair_f1(trial.pairs), 4) if trial.pairs else None,
        )


class TrialAnswer(BaseModel):
    model_config = example(
        {
            "found": {
                "recipe": "oasis",
                "request": "act",
                "agent": "Ann",
                "kind": "agent",
                "confidence": 0.99,
                "why": "act: its name stands in the first system message behind 'Your name is '",
                "step": None,
                "from_answer": False,
            },
            "fitting": ["oasis"],
            "trace": None,
        }
    )

    found: FoundAnswer | None = Field(
        description="Of a piece of text or a request; null: no recipe knows it, or a trace was tried."
    )
    fitting: list[str] = Field(
        description="All recipes whose marks it has: the first is the one that is asked."
    )
    trace: TracedAnswer | None

    @classmethod
    def of_one(cls, fitting: Sequence[str], read: Read | None) -> TrialAnswer:
        found = None if read is None else FoundAnswer.of(read)
        return cls(found=found, fitting=list(fitting), trace=None)

    @classmethod
    def of_trace(cls, tried: TracedTrial) -> TrialAnswer:
        return cls(found=None, fitting=[], trace=TracedAnswer.of(tried))


def _told(recipe: Recipe, fit: Fit) -> dict[str, Any]:
    source = recipe.read_from
    return {
        "name": recipe.name,
        "framework": recipe.framework,
        "read_from": SourceAnswer(package=source.package, version=source.version, file=source.file),
        "verified": recipe.verified,
        "own": recipe.own,
        "clock": recipe.clock,
        "kinds": len(recipe.calls),
        "calls": fit.calls,
        "named": fit.named,
        "confidence": round(fit.confidence / fit.named, 4) if fit.named else None,
    }
