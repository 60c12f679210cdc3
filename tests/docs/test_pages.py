"""What stands in the documentation leads somewhere, and every command in it is run or says why not."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer

from scalesim.proxy.__main__ import cli

from .pages import LANGUAGES, ROOT, RUNNABLE, Page, Way, page_at, pages

PAGES = pages()
every_page = pytest.mark.parametrize("page", PAGES, ids=str)


def dead_links(page: Page) -> list[str]:
    return [link for link in page.links if not _leads(page.path, link)]


def _leads(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # the net is not asked
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not parts.fragment or target.suffix != ".md" or parts.fragment in page_at(target).anchors


@every_page
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Page) -> None:
    assert not dead_links(page)


@every_page
def test_every_block_says_what_it_is_written_in(page: Page) -> None:
    wrong = [f"{block}: {block.language!r}" for block in page.blocks if block.language not in LANGUAGES]
    assert not wrong, f"commands are `sh`, what is only shown is `text`: {wrong}"


@every_page
def test_no_command_hides_in_a_block_that_is_not_run(page: Page) -> None:
    command = re.compile(r"^(\$ )?(curl|scalesim|make|pip|docker|kubectl|python -m) ", re.MULTILINE)
    hidden = [str(block) for block in page.blocks if block.language == "text" and command.search(block.text)]
    assert not hidden


@every_page
def test_what_is_not_run_needs_what_a_test_has_not(page: Page) -> None:
    blocks = [block for block in page.blocks if block.language in RUNNABLE]
    bare = [
        str(one) for one in blocks if one.way is Way.NOT_RUN and not one.why.startswith(("needs ", "takes "))
    ]
    assert not bare
    for block in blocks:
        if block.way is Way.RUN_BY:
            assert (ROOT / block.why).is_file(), f"{block}: {block.why} does not exist"
            assert page.path.name in (ROOT / block.why).read_text(), (
                f"{block}: {block.why} does not read this page"
            )


@every_page
def test_every_block_of_data_can_be_read(page: Page) -> None:
    for block in page.blocks:
        match block.language:
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case "python":
                compile(block.text, str(block), "exec")  # also what is not run


@every_page
def test_every_command_that_is_named_exists(page: Page) -> None:
    """Also those that are not run, and those in running text."""
    commands = "\n".join(block.text for block in page.blocks if block.language in RUNNABLE)
    named = {
        tool: set(re.findall(rf"`{tool} ([a-z][a-z0-9-]+)", page.path.read_text()))
        | set(re.findall(rf"^{tool} ([a-z][a-z0-9-]+)", commands, re.MULTILINE))
        for tool in ("make", "scalesim")
    }
    assert named["make"] <= set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named["scalesim"] <= set(getattr(typer.main.get_command(cli), "commands", {}))


def test_every_page_is_in_the_index() -> None:
    index = page_at(ROOT / "docs" / "README.md")
    listed = {(index.path.parent / urlsplit(link).path).resolve() for link in index.links}
    below = {page.path for page in PAGES if page.path.is_relative_to(ROOT / "docs")} - {index.path}
    assert not {str(path.relative_to(ROOT)) for path in below - listed}


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "README.md"
    assert not _leads(page, "nowhere.md")
    assert not _leads(page, "architecture.md#no-such-heading")
    assert not _leads(page, "../../elsewhere.md")
    assert _leads(page, "architecture.md#processes")


def test_marks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "<!-- serves -->\n```sh\na\n```\n\n```sh\nb\n```\n\n- item\n\n  <!-- not run: needs a GPU -->\n  ```sh\n  c\n  ```\n"
    )
    found = [(block.text, block.way, block.why) for block in page_at(path).blocks]
    assert found == [("a\n", Way.SERVES, ""), ("b\n", Way.RUN, ""), ("c\n", Way.NOT_RUN, "needs a GPU")]
    path.write_text("<!-- all run by: tests/x.py -->\n\n```sh\na\n```\n\n<!-- serves -->\n```sh\nb\n```\n")
    found = [(block.text, block.way, block.why) for block in page_at(path).blocks]
    assert found == [("a\n", Way.RUN_BY, "tests/x.py"), ("b\n", Way.SERVES, "")]
