"""Recipes: how requests of frameworks are recognised, how often each did, and how the user's own are put, tried and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from scalesim.proxy.recognition.prompt import prompt_of
from scalesim.proxy.recognition.recipes.book import (
    BookRefused,
    CannotWrite,
    UnknownRecipe,
    checked,
    with_recipe,
)
from scalesim.proxy.recognition.recipes.choosing import Chooser, Index
from scalesim.proxy.recognition.recipes.recipe import RecipeError
from scalesim.proxy.recognition.recipes.shelf import MAX_FILES

from .audit import audit
from .desk import Desk
from .office import Office
from .problems import Problem, Refusals, refused
from .recipe_answers import (
    CheckedAnswer,
    RecipeAnswer,
    RecipeBody,
    RecipesAnswer,
    TrialAnswer,
    TrialBody,
    WholeRecipeAnswer,
)
from .traces import REFUSALS as OF_TRACES

RecipePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,39}$", examples=["oasis"])]
_REFUSALS: Refusals = {
    UnknownRecipe: HTTPStatus.NOT_FOUND,
    CannotWrite: HTTPStatus.SERVICE_UNAVAILABLE,
    BookRefused: HTTPStatus.CONFLICT,
}
_DISK: dict[int | str, dict[str, Any]] = {
    503: {"description": "A file cannot be read or written; the text says why. Nothing was changed."}
}


def recipe_routes(desk: Desk, office: Office) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/recipes", tags=["recipes"])
    book = office.book
    traces_tried = asyncio.Semaphore(1)  # each takes a thread for some seconds

    @router.get("")
    async def recipes() -> RecipesAnswer:
        """All recipes in force, what each fitted so far, and how sure it was."""
        folder = book.shelf.folder
        return RecipesAnswer(
            folder=None if folder is None else str(folder),
            problems=list(book.shelf.problems[:MAX_FILES]),
            recipes=[RecipeAnswer.of(one, desk.callers.fit(one.name)) for one in book.shelf.index.recipes],
        )

    @router.post("/validate")
    async def validate(body: RecipeBody) -> CheckedAnswer:
        """Reads a recipe, and keeps nothing. One that is wrong is a 422 that says why, and on which line."""
        with _readable():
            return CheckedAnswer.of(await asyncio.to_thread(checked, body.text))

    @router.post("/test", responses=_DISK)
    async def test(body: TrialBody) -> TrialAnswer:
        """What recipes find in a piece of text, in a request, or in a recorded trace. Nothing is kept, and nothing counted."""
        index = book.shelf.index
        if body.recipe is not None:
            with _readable():
                index = with_recipe(index, await asyncio.to_thread(checked, body.recipe))
        if body.trace is None:
            return _tried(index, body)
        with refused(OF_TRACES, "trace: {}"):
            async with traces_tried:
                tried = await office.try_trace(body.trace, index)
        if not tried.trial.calls:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"trace: {body.trace!r} has no call with its text: only one in full text can be tried",
            )
        return TrialAnswer.of_trace(tried)

    @router.get("/{recipe}", responses=_DISK)
    async def one_recipe(recipe: RecipePath) -> WholeRecipeAnswer:
        """All that it says, and its text."""
        with refused(_REFUSALS):
            return await _whole(recipe)

    @router.put(
        "/{recipe}", responses={201: {"description": "It was new.", "model": WholeRecipeAnswer}, **_DISK}
    )
    async def put(
        recipe: RecipePath, body: RecipeBody, request: Request, response: Response
    ) -> WholeRecipeAnswer:
        """Keeps it in the user's folder; from the next call on it is in force. One of the name of a built-in one takes its place. The
        text must say the same name."""
        with _readable(), refused(_REFUSALS):
            is_new = await book.put(recipe, body.text)
            audit(request, f"the recipe {recipe!r} was {'put' if is_new else 'replaced'}")
            if is_new:
                response.status_code = HTTPStatus.CREATED
            return await _whole(recipe)

    @router.delete("/{recipe}", status_code=HTTPStatus.NO_CONTENT, responses=_DISK)
    async def delete(recipe: RecipePath, request: Request) -> None:
        """One of the user's. A built-in one whose place it took is in force again."""
        with refused(_REFUSALS):
            await book.delete(recipe)
        audit(request, f"the recipe {recipe!r} was deleted")

    async def _whole(name: str) -> WholeRecipeAnswer:
        """Raises `BookRefused`."""
        text = await book.text(name)
        return WholeRecipeAnswer.whole(book.find(name), desk.callers.fit(name), text)

    return router


def _tried(index: Index, body: TrialBody) -> TrialAnswer:
    sent = body.request
    if body.prompt is not None:
        roles = ("system", "user")
        sent = {"messages": [{"role": role, "content": body.prompt} for role in roles]}
    prompt = prompt_of(body.route, sent or {})
    if prompt is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"request: there is no prompt in it, for the route {body.route!r}",
        )
    read = Chooser().read(index, "", prompt)
    fitting = [recipe.name for recipe, _ in index.fitting(prompt)]
    if read is not None:
        fitting.sort(key=lambda name: name != read.recipe)
    return TrialAnswer.of_one(fitting, read)


@contextmanager
def _readable() -> Iterator[None]:
    """A text that is no recipe becomes a problem that says where."""
    try:
        yield
    except RecipeError as exc:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{exc}; nothing was changed", line=exc.line, key=exc.key or None
        ) from exc
