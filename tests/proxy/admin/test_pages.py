from __future__ import annotations

import pytest

from scalesim.proxy.dashboard.assets import assets

from .conftest import Proxy

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", sorted(assets()))
async def test_every_file_is_there_without_a_key(locked: Proxy, path: str) -> None:
    answer = await locked.client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_a_browser_has_is_not_sent_again(proxy: Proxy) -> None:
    first = await proxy.client.get("/")
    again = await proxy.client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
