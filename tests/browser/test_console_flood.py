"""What the console does with more events than anybody reads: it shows all, and draws few."""

import re
from collections.abc import Mapping
from typing import Any, Final

from playwright.async_api import expect

from tests.browser.chromium import Windows
from tests.browser.console import button, opened, region, rows
from tests.browser.lab import serve_lab

#: Events of one burst: what a page must bear in a second.
_BURST: Final = 2000
#: Bursts: more than the 10,000 events that a page keeps.
_BURSTS: Final = 6
_KEPT: Final = 10_000
#: Rows of 30 px in a list that is lower than the window, 800 px, and six spare ones at either end.
_ROWS: Final = 40


async def test_a_flood_of_events_arrives_whole_and_leaves_the_page_small(
    windows: Windows, config: Mapping[str, Any]
) -> None:
    async with serve_lab(config) as server, server.connect() as client:
        page = await opened(windows, server, "topics/flood:all")
        topic = region(page, "Topic")
        await expect(topic.get_by_role("status")).to_have_text("Subscribed")
        events = page.get_by_role("listbox", name="Events of flood:all")
        shown = rows(page, "Events of flood:all")
        elements = "document.querySelectorAll('*').length"
        before = await page.evaluate(elements)
        for burst in range(1, _BURSTS + 1):
            await client.request("lab.burst", {"name": "all", "count": _BURST})
            last = f"{burst * _BURST} "
            await expect(shown.last).to_have_text(re.compile(f"^{last}.*" + r'\{"n":1999\}'))
        await expect(topic.locator(".bar .count")).to_have_text(
            "12,000 events · the last 10,000 kept"
        )
        await expect(topic).not_to_contain_text("gap")
        await expect(shown.last).to_have_attribute("aria-posinset", str(_KEPT))
        await expect(shown.last).to_have_attribute("aria-setsize", str(_KEPT))
        assert await shown.count() <= _ROWS
        # A row is an element with its cells; those that are not in sight have none.
        assert await page.evaluate(elements) <= before + 5 * _ROWS
        # Every event is where its number says, wherever one looks.
        await events.focus()
        await page.keyboard.press("Home")
        first = _BURST * _BURSTS - _KEPT + 1
        await expect(shown.first).to_have_text(re.compile(rf'^{first} .*\{{"n":0\}}'))
        await events.evaluate("list => list.scrollTop = list.scrollHeight / 2")
        await expect(shown.first).to_have_attribute("aria-posinset", re.compile(r"^49\d\d$"))
        for row in await shown.all():
            place = int(await row.get_attribute("aria-posinset") or 0)
            offset = first + place - 1
            n = (offset - 1) % _BURST
            await expect(row).to_have_text(re.compile(rf'^{offset} .*\{{"n":{n}\}}'))
        assert await shown.count() <= _ROWS
        # Who reads further up stays there, whatever comes.
        above = await shown.first.text_content()
        follow = button(page, "Follow events of flood:all")
        await expect(follow).to_have_attribute("aria-pressed", "false")
        await client.request("lab.burst", {"name": "all", "count": 100})
        await expect(topic.locator(".bar .count")).to_contain_text("12,100 events")
        await expect(shown.first).to_have_text(above or "")
        await follow.click()
        await expect(shown.last).to_have_text(re.compile(r'^12100 .*\{"n":99\}'))
