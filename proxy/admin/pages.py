"""The dashboard and the API's description, as files: for everybody who can reach the listener, since they say nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from scalesim.proxy.dashboard.assets import HEADERS, Asset, assets


def page_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    for path, asset in assets().items():
        router.add_api_route(path, _giving(asset), methods=["GET", "HEAD"])
    return router


def _giving(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    headers = {**HEADERS, "etag": asset.etag}

    async def give(request: Request) -> Response:
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(asset.body, headers=headers, media_type=asset.media_type)

    return give
