"""A server that is killed in the middle of a conversation, and started again: nothing is lost."""

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from playwright.async_api import Page, expect

from jackfield.testing import run_server
from tests.browser.chat import enter, serve_chat, shows, told, write
from tests.browser.chromium import Windows
from tests.browser.console import button, field, form, region, rows, standing
from tests.support.nodes import impatient, serving
from tests.support.paths import ROOMS
from tests.support.rooms import rooms
from tests.support.valkeys import free_port

#: Milliseconds: a server takes a second or two to start, and a page waits a few to try again.
_RESTART: Final = 40_000
#: What Chromium says of each attempt that nobody answers.
_REFUSED: Final = "WebSocket connection to"


async def _publish(page: Page, by: str, number: int) -> None:
    publishing = form(page, "Publish to room:lost")
    await field(publishing, "by").fill(by)
    await field(publishing, "number").fill(str(number))
    await button(publishing, "Publish").click()


async def test_a_killed_server_that_comes_back_finds_its_windows_and_they_have_missed_nothing(
    windows: Windows, config: Mapping[str, Any]
) -> None:
    windows.expect_complaints(_REFUSED)
    port = free_port()
    redis = config["redis"]
    settings = {**impatient(redis["url"]), "redis": redis}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(settings, ROOMS, port=port))
        # Another node, whose clients talk on while the first one is dead.
        other = await stack.enter_async_context(run_server(rooms, config={"redis": redis}))
        carol = await stack.enter_async_context(other.connect())
        address = f"{server.address}/#/topics/room:lost"
        alice, bob = [await windows.open(address) for _ in range(2)]
        for page in (alice, bob):
            await expect(region(page, "Topic").get_by_role("status")).to_have_text("Subscribed")
        await _publish(alice, "alice", 1)
        for page in (alice, bob):
            await expect(rows(page, "Events of room:lost")).to_contain_text(['"number":1'])
        await server.kill()
        for page in (alice, bob):
            await expect(standing(page)).not_to_have_text(re.compile("Open"))
        await carol.publish("room:lost", {"by": "carol", "number": 2})
        await _publish(bob, "bob", 3)
        told = form(bob, "Publish to room:lost").get_by_role("status")
        await expect(told).to_have_text("Publishing")
        await stack.enter_async_context(serving(settings, ROOMS, port=port))
        await expect(told).to_have_text(re.compile("^Published at offset 3 of"), timeout=_RESTART)
        for page in (alice, bob):
            await expect(standing(page)).to_have_text("Open · anonymous", timeout=_RESTART)
        await _publish(alice, "alice", 4)
        for page in (alice, bob):
            await expect(rows(page, "Events of room:lost")).to_have_text(
                [
                    re.compile(rf'^{number} .*"by":"{by}","number":{number}')
                    for number, by in enumerate(("alice", "carol", "bob", "alice"), 1)
                ]
            )


async def test_a_killed_server_that_comes_back_finds_a_conversation_without_a_hole(
    windows: Windows, config: Mapping[str, Any]
) -> None:
    windows.expect_complaints(_REFUSED)
    port, redis = free_port(), config["redis"]
    settings = impatient(redis["url"], redis=redis, plugins={"disabled": []})
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(settings, port=port))
        # Another node, on which somebody talks on while the first one is dead.
        other = await stack.enter_async_context(serve_chat({"redis": redis}))
        ada = await enter(windows, server.address, "Ada")
        ben = await enter(windows, server.address, "Ben")
        cid = await enter(windows, other.address, "Cid")
        await write(ada, "before")
        await shows(ben, "Ada: before")
        await server.kill()
        await expect(ada.get_by_text("The connection is lost.")).to_be_visible()
        await expect(ben.get_by_text("The connection is lost.")).to_be_visible()
        await write(cid, "meanwhile")
        await shows(cid, "Ada: before", "Cid: meanwhile")
        await write(ada, "written while away")
        await expect(told(ada)).to_have_text("Waits for the connection.")
        await stack.enter_async_context(serving(settings, port=port))
        for page in (ada, ben):
            await expect(standing(page)).to_contain_text("Connected", timeout=_RESTART)
        await expect(told(ada)).to_have_count(0)
        await write(ben, "after")
        everything = "Ada: before", "Cid: meanwhile", "Ada: written while away", "Ben: after"
        for page in (ada, ben, cid):
            await shows(page, *everything)
