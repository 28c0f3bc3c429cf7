"""Chromium for tests, and windows of it that tell whatever it complains of."""

import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    async_playwright,
    expect,
)

#: What Debian, Ubuntu and Google call it.
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
#: Milliseconds, for what a page is waited for to show: only a test that fails waits as long.
_PATIENCE: Final = 20_000
#: CSS pixels: no phone is narrower, and below it the layout is that of a phone.
_PHONE: Final = 500


def chromium() -> str | None:
    """The path of this machine's Chromium, if it has one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@asynccontextmanager
async def launched(executable: str) -> AsyncIterator[Browser]:
    """Run a browser without a screen while the context lasts."""
    expect.set_options(timeout=_PATIENCE)
    # Its sandbox is not to be had by root, who runs tests in containers.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, chromium_sandbox=not is_root
        )
        try:
            yield browser
        finally:
            await browser.close()


class Windows:
    """Windows of one test, each with a storage of its own, as of another person.

    Args:
        browser: What shows them.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._expected: list[str] = []
        self._complaints: list[str] = []

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings that no test expected: a page's own, and breaches of its policy."""
        return [
            complaint
            for complaint in self._complaints
            if not any(text in complaint for text in self._expected)
        ]

    def expect_complaints(self, *texts: str) -> None:
        """Take no offence at what contains one of these."""
        self._expected += texts

    async def open(self, address: str, *, width: int = 1280, height: int = 800) -> Page:
        """Open a page.

        Args:
            address: Where it is.
            width: Of the window in CSS pixels; a narrow one is a phone's, with a touch screen.
            height: The same.
        """
        context = await self._browser.new_context(
            viewport={"width": width, "height": height},
            has_touch=width < _PHONE,
            is_mobile=width < _PHONE,
        )
        context.set_default_timeout(_PATIENCE)
        self._contexts.append(context)
        page = await context.new_page()
        page.on("console", self._heed)
        page.on("pageerror", lambda error: self._complaints.append(error.stack or str(error)))
        page.on("crash", lambda page: self._complaints.append(f"{page.url} crashed"))
        await page.goto(address)
        return page

    async def close(self) -> None:
        """Close them all."""
        for context in self._contexts:
            await context.close()

    def _heed(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._complaints.append(f"{message.text} ({message.location.get('url')})")


async def slow_down(page: Page) -> None:
    """Have a page load, send and receive as with a bad signal, from now on."""
    network = await page.context.new_cdp_session(page)
    await network.send("Network.enable")
    # In milliseconds and bytes a second.
    slow = {"offline": False, "latency": 200, "downloadThroughput": 60_000}
    await network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 20_000})


async def axe(page: Page, *rules: str) -> list[str]:
    """What axe finds wrong with a page as it is now; nothing it should be.

    Args:
        page: What to look at. Its policy allows no foreign script, so that axe comes in by the
            debugger's door.
        *rules: All that is looked for; by default all that axe knows.
    """
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found = await page.evaluate(
        """async (rules) => {
            const options = { resultTypes: ["violations"] };
            if (rules.length) options.runOnly = rules;
            else options.rules = { "label-content-name-mismatch": { enabled: true } };
            const { violations } = await axe.run(document, options);
            return violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) =>
                `${html}: ${failureSummary}`)]);
        }""",
        rules,
    )
    return [_words(rule, nodes) for rule, nodes in found]


def _words(rule: str, nodes: Iterable[str]) -> str:
    return "\n".join((f"{rule}:", *nodes))
