"""Recipes: how requests of frameworks are recognised, how often each did, and how the user's own are put, tried and deleted."""

from __future__ import annotations

import asyncio
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
from scalesim.proxy.recording_status import TraceFailed, TraceRefused, UnknownTrace

from .audit import audit
from .desk import Desk
from .office import Office
from .problems import Problem
from .recipe_answers import (
    CheckedAnswer,
    RecipeAnswer,
    RecipeBody,
    RecipesAnswer,
    TrialAnswer,
    TrialBody,
    WholeRecipeAnswer,
)

RecipePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,39}$", examples=["oasis"])]
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
        try:
            return CheckedAnswer.of(await asyncio.to_thread(checked, body.text))
        except RecipeError as exc:
            raise _wrong(exc) from exc

    @router.post("/test", responses=_DISK)
    async def test(body: TrialBody) -> TrialAnswer:
        """What recipes find in a piece of text, in a request, or in a recorded trace. Nothing is kept, and nothing counted."""
        index = book.shelf.index
        if body.recipe is not None:
            try:
                index = with_recipe(index, await asyncio.to_thread(checked, body.recipe))
            except RecipeError as exc:
                raise _wrong(exc) from exc
        if body.trace is None:
            return _tried(index, body)
        try:
            async with traces_tried:
                tried = await office.try_trace(body.trace, index)
        except TraceRefused as exc:
            raise Problem(_status_of(exc), f"trace: {exc}") from exc
        if not tried.trial.calls:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"trace: {body.trace!r} has no call with its text: only one in full text can be tried",
            )
        return TrialAnswer.of_trace(tried)

    @router.get("/{recipe}", responses=_DISK)
    async def one_recipe(recipe: RecipePath) -> WholeRecipeAnswer:
        """All that it says, and its text."""
        try:
            return await _whole(recipe)
        except BookRefused as exc:
            raise _problem(exc) from exc

    @router.put(
        "/{recipe}", responses={201: {"description": "It was new.", "model": WholeRecipeAnswer}, **_DISK}
    )
    async def put(
        recipe: RecipePath, body: RecipeBody, request: Request, response: Response
    ) -> WholeRecipeAnswer:
        """Keeps it in the user's folder; from the next call on it is in force. One of the name of a built-in one takes its place. The
        text must say the same name."""
        try:
            is_new = await book.put(recipe, body.text)
            audit(request, f"the recipe {recipe!r} was {'put' if is_new else 'replaced'}")
            if is_new:
                response.status_code = HTTPStatus.CREATED
            return await _whole(recipe)
        except RecipeError as exc:
            raise _wrong(exc) from exc
        except BookRefused as exc:
            raise _problem(exc) from exc

    @router.delete("/{recipe}", status_code=HTTPStatus.NO_CONTENT, responses=_DISK)
    async def delete(recipe: RecipePath, request: Request) -> None:
        """One of the user's. A built-in one whose place it took is in force again."""
        try:
            await book.delete(recipe)
        except BookRefused as exc:
            raise _problem(exc) from exc
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


def _wrong(exc: RecipeError) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"{exc}; nothing was changed", line=exc.line, key=exc.key or None
    )


def _problem(exc: BookRefused) -> Problem:
    match exc:
        case UnknownRecipe():
            status = HTTPStatus.NOT_FOUND
        case CannotWrite():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            status = HTTPStatus.CONFLICT
    return Problem(status, f"{exc}; nothing was changed")


def _status_of(exc: TraceRefused) -> HTTPStatus:
    match exc:
        case UnknownTrace():
            return HTTPStatus.NOT_FOUND
        case TraceFailed():
            return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.CONFLICT
