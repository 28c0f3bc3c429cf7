"""One Chromium for all tests of pages, and windows that must not complain."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.chromium import Windows, chromium, launched

Photograph = Callable[[Page, str], Awaitable[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests here in one event loop, which the browser belongs to."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium; without it the tests of pages are skipped, but for CI, which has it."""
    executable = chromium()
    if executable is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    async with launched(executable) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser) -> AsyncIterator[Windows]:
    """What opens windows; nothing in them may have gone wrong by the end."""
    windows = Windows(browser)
    try:
        yield windows
    finally:
        # A test's server ends before its windows, which try to connect again meanwhile.
        windows.expect_complaints("net::ERR_CONNECTION_REFUSED")
        await windows.close()
    assert windows.complaints == []


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Photograph:
    """What writes a screenshot into pytest's directory, for people to look at."""
    directory = tmp_path_factory.mktemp("screenshots")

    async def photograph(page: Page, name: str) -> None:
        await page.screenshot(path=directory / f"{name}.png", animations="disabled")

    return photograph
