from __future__ import annotations

from pathlib import Path

import pytest

from scalesim.workloads.bench_proxy.contestants import Contestant, NotThere, Place, contestants

OTHERS = ("nginx", "LiteLLM", "sglang-router", "smg")
OURS = ("ours, off", "ours, on", "ours, 4 workers")
BY_NAME = {one.name: one for one in contestants()}


def _place(folder: Path, proxies: Path) -> Place:
    return Place("127.0.0.1", 4711, "http://127.0.0.1:4712", folder, proxies)


def test_all_are_found_in_the_order_of_the_table() -> None:
    assert tuple(BY_NAME) == (*OTHERS, *OURS)
    assert all(one.about for one in contestants())


def test_several_workers_need_a_redis_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(NotThere, match="apt-get install redis-server"):
        BY_NAME["ours, 4 workers"].start(_place(tmp_path, tmp_path))


@pytest.mark.parametrize("name", OTHERS)
def test_one_that_was_not_made_says_how_to_make_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(NotThere, match="make proxies"):
        BY_NAME[name].start(_place(tmp_path, tmp_path / "none"))


@pytest.mark.parametrize("contestant", [BY_NAME[name] for name in OTHERS], ids=OTHERS)
def test_one_that_was_made_is_started_before_the_engine(contestant: Contestant, tmp_path: Path) -> None:
    proxies = tmp_path / "proxies"
    for program in ("nginx/usr/sbin/nginx", "litellm/bin/litellm", "sglang-router/bin/python", "smg/bin/smg"):
        path = proxies / program
        path.parent.mkdir(parents=True)
        path.touch()
    start = contestant.start(_place(tmp_path, proxies))
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    told = " ".join([*start.command, *(path.read_text() for path in files)])
    assert "4711" in told
    assert "127.0.0.1:4712" in told
    assert start.ready_url.startswith("http://127.0.0.1:4711/")
    assert Path(start.command[0]).exists()
