"""Where things are in the console, by what they are called."""

from typing import Any, Final

from playwright.async_api import Locator, Page, expect

from jackfield.client import Client
from jackfield.testing import RunningServer
from tests.browser.chromium import Windows

#: A person who uses the keyboard presses Tab no more often to get around a panel.
_TABS: Final = 150


def region(scope: Page | Locator, name: str) -> Locator:
    return scope.get_by_role("region", name=name, exact=True)


def form(scope: Page | Locator, name: str) -> Locator:
    return scope.get_by_role("form", name=name, exact=True)


def button(scope: Page | Locator, name: str) -> Locator:
    return scope.get_by_role("button", name=name, exact=True)


def link(scope: Page | Locator, name: str) -> Locator:
    return scope.get_by_role("link", name=name, exact=True)


def field(scope: Page | Locator, name: str) -> Locator:
    return scope.get_by_label(name, exact=True)


def group(scope: Page | Locator, name: str) -> Locator:
    return scope.get_by_role("group", name=name, exact=True)


def rows(scope: Page | Locator, name: str) -> Locator:
    """The rows in sight of a list."""
    return scope.get_by_role("listbox", name=name, exact=True).get_by_role("option")


def answer(page: Page) -> Locator:
    """What is said of the message that was sent last."""
    return region(page, "Answer").get_by_role("status")


async def opened(
    windows: Windows, server: RunningServer, panel: str, who: str = "anonymous", **options: Any
) -> Page:
    """The console, at one of its panels, connected; for the options see `Windows.open`."""
    page = await windows.open(f"{server.address}/#/{panel}", **options)
    await is_open(page, who)
    return page


async def is_open(page: Page, who: str = "anonymous") -> None:
    await expect(standing(page)).to_have_text(f"Open · {who}")


def standing(page: Page) -> Locator:
    return page.get_by_role("status", name="Connection state", exact=True)


async def is_empty(client: Client, topic: str) -> bool:
    """Whether no window, nor anybody else, is in a topic any more."""
    return (await client.presence(topic)).count == 0


async def tab_to(target: Locator) -> None:
    """Press Tab until something has the focus, as who has no mouse must."""
    page = target.page
    for _ in range(_TABS):
        if await target.evaluate("element => element === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {target}")
