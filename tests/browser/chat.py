"""Where things are in the chat, by what they are called."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Locator, Page, expect

from jackfield.testing import RunningServer, run_server
from jackfield_chat import chat
from tests.browser.chromium import Windows
from tests.browser.console import button, field, form, standing
from tests.support.valkeys import free_port


@asynccontextmanager
async def serve_chat(config: Mapping[str, Any], **sections: Any) -> AsyncIterator[RunningServer]:
    # The origins of pages are those of the port that the configuration names.
    server = {"port": free_port(), "debug": True}
    async with run_server(chat, config={**config, **sections, "server": server}) as running:
        yield running


async def enter(windows: Windows, address: str, nick: str, **options: Any) -> Page:
    """The page in a new window, with its visitor's name given."""
    page = await windows.open(f"{address}/chat", **options)
    await give_name(page, nick)
    await is_in(page)
    return page


async def give_name(page: Page, nick: str) -> None:
    await field(form(page, "Your name"), "Name").fill(nick)
    await button(page, "Start chatting").click()


async def is_in(page: Page) -> None:
    await expect(standing(page)).to_contain_text("Connected")
    # On a phone the people are out of sight at first.
    listed = page.get_by_role("list", name="People", exact=True, include_hidden=True)
    await expect(listed.get_by_role("listitem", include_hidden=True)).not_to_have_count(0)


def people(page: Page) -> Locator:
    return page.get_by_role("list", name="People", exact=True).get_by_role("listitem")


def said(page: Page) -> Locator:
    """The messages in the log of the room that is open."""
    return page.get_by_role("log", name="Messages", exact=True).get_by_role("article")


async def shows(page: Page, *messages: str) -> None:
    """Wait until a room's log has these messages, ``NICK: TEXT``, in this order and no others."""
    await expect(said(page)).to_have_count(len(messages))
    for article, message in zip(await said(page).all(), messages, strict=True):
        await expect(article).to_have_accessible_name(message)


def told(page: Page) -> Locator:
    """What is said of what is on its way."""
    return page.locator(".unsent .told")


async def write(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Message", exact=True).fill(text)
    await button(page, "Send").click()
