"""The console's panel of the connection: how it is, whose it is, and what goes over it."""

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from jackfield.testing import RunningServer
from tests.browser.chromium import Windows, slow_down
from tests.browser.console import (
    answer,
    button,
    field,
    form,
    group,
    is_open,
    link,
    opened,
    region,
    rows,
    standing,
    tab_to,
)
from tests.browser.lab import serve_lab
from tests.support.tokens import jwt_section, token


@pytest_asyncio.fixture(loop_scope="session")
async def server(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    async with serve_lab(config) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def strict_server(config: Mapping[str, Any], tmp_path: Path) -> AsyncIterator[RunningServer]:
    """One that wants a token, and gives no grace when it runs out."""
    auth = {"jwt": jwt_section(tmp_path, leeway="0s"), "warn_before": "0s", "grace": "0s"}
    async with serve_lab({**config, "auth": auth}) as running:
        yield running


def state(page: Page) -> Locator:
    return region(page, "Connection").get_by_role("status").first


def fact(page: Page, name: str) -> Locator:
    """What stands behind a name."""
    facts = region(page, "Connection")
    return facts.locator("dt", has_text=re.compile(f"^{name}$")).locator("xpath=following::dd[1]")


def notices(page: Page) -> Locator:
    return page.get_by_role("log", name="Notices")


async def use(page: Page, secret: str) -> None:
    await field(page, "Token").fill(secret)
    await button(page, "Use token").click()


async def test_it_tells_what_the_server_says_of_the_connection(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "connection")
    await expect(state(page)).to_have_text("Open.")
    await expect(fact(page, "User")).to_have_text("anonymous")
    await expect(fact(page, "Heartbeat")).to_have_text("15 s")
    (connection,) = [each.id for each in server.node.hub]
    await expect(fact(page, "Connection")).to_have_text(connection)


async def test_it_is_closed_and_opened_again_by_hand(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "connection")
    await button(page, "Close connection").click()
    await expect(state(page)).to_contain_text("Closed (1000")
    await expect(standing(page)).to_have_text("Closed")
    await button(page, "Reconnect").click()
    await is_open(page)
    await expect(state(page)).to_have_text("Open.")


async def test_charts_say_in_words_how_fast_it_is(windows: Windows, server: RunningServer) -> None:
    page = await opened(windows, server, "connection")
    traffic = region(page, "Traffic")
    latency = traffic.get_by_role("figure").filter(has_text="Latency")
    measured = re.compile(r"^[\d.]+ ms now, [\d.]+ ms median, [\d.]+ ms at most$")
    await expect(latency.locator("output")).to_have_text(measured)
    await expect(latency.locator("svg path").last).to_have_attribute("d", re.compile("^M.*L"))
    rate = traffic.get_by_role("figure").filter(has_text="Messages")
    await expect(rate.locator("output")).to_have_text(
        re.compile(r"^\d+ in, \d+ out a second, [\d.]+ Ki?B$|^\d+ in, \d+ out a second, \d+ B$")
    )


async def test_every_frame_but_the_consoles_own_is_listed_and_shown_in_full(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages/session.whoami")
    await button(page, "Send").click()
    await expect(answer(page)).to_contain_text("reply in")
    await link(page, "Connection").click()
    frames = rows(page, "Frames")
    # Who it is and what there is it asks at its start; the last two are ours.
    await expect(frames.nth(-2)).to_contain_text('"type":"session.whoami"')
    await expect(frames.last).to_contain_text('"type":"reply"')
    await expect(frames.filter(has_text="console-")).to_have_count(0)
    await frames.nth(-2).click()
    assert json.loads(await group(page, "Sent").inner_text())["type"] == "session.whoami"
    await frames.last.click()
    assert json.loads(await group(page, "Received").inner_text())["payload"]["user"] is None
    await field(page, "With the console's own").check()
    await expect(frames.filter(has_text="console-ping-").first).to_be_visible()


async def test_a_page_without_a_token_is_told_to_bring_one_and_then_let_in(
    windows: Windows, strict_server: RunningServer
) -> None:
    page = await windows.open(f"{strict_server.address}/#/connection")
    await expect(notices(page)).to_contain_text("enter a token under Connection")
    secret = token(sub="alice")
    await use(page, secret)
    await is_open(page, "alice")
    await expect(notices(page)).to_be_empty()
    await expect(fact(page, "User")).to_have_text("alice")
    # It is nowhere to be read: not on the page, in the address, in what is kept of the frames.
    assert secret not in await page.content() + page.url
    await expect(rows(page, "Frames").first).to_contain_text('"token":"…"')
    await page.reload()
    await is_open(page, "alice")
    await button(page, "Forget token").click()
    await expect(standing(page)).to_have_text("Connecting")
    assert await page.evaluate("sessionStorage.length + localStorage.length") == 0


async def test_a_token_that_is_no_good_is_refused_in_words(
    windows: Windows, strict_server: RunningServer
) -> None:
    page = await windows.open(f"{strict_server.address}/#/connection")
    await use(page, "forged")
    await expect(standing(page)).to_have_text("Closed")
    await expect(state(page)).to_have_text(re.compile(r"^Closed \(4501, .*\)\.$"))
    await expect(notices(page)).to_contain_text("4501")


async def test_when_a_token_runs_out_a_new_one_goes_on_where_the_old_one_ended(
    windows: Windows, strict_server: RunningServer
) -> None:
    page = await windows.open(f"{strict_server.address}/#/connection")
    # Long enough for a slow machine to subscribe in, short enough to be waited for.
    await use(page, token(sub="alice", exp=int(time.time()) + 6))
    await is_open(page, "alice")
    await link(page, "Topics").click()
    await field(page, "Topic name").fill("room:a")
    await page.keyboard.press("Enter")
    events = rows(page, "Events of room:a")
    async with strict_server.connect(token=token(sub="bob")) as bob:
        members = region(page, "Members").get_by_role("listitem")
        await expect(members).to_have_text(re.compile("^alice"))
        await bob.publish("room:a", {"text": "before"})
        await expect(events).to_contain_text(["before"])
        await expect(standing(page)).to_have_text("Closed")
        await expect(notices(page)).to_contain_text("(4002, ")
        await bob.publish("room:a", {"text": "meanwhile"})
    await link(page, "Connection").click()
    await use(page, token(sub="alice"))
    await is_open(page, "alice")
    await expect(notices(page)).not_to_contain_text("4002")
    await link(page, "Topics").click()
    await expect(events).to_have_text([re.compile("before"), re.compile("meanwhile")])


async def test_a_newer_token_makes_somebody_else_of_an_open_page(
    windows: Windows, strict_server: RunningServer
) -> None:
    page = await windows.open(f"{strict_server.address}/#/connection")
    await use(page, token(sub="alice", scope="staff"))
    await is_open(page, "alice")
    await expect(fact(page, "Scopes")).to_have_text("staff")
    await link(page, "Topics").click()
    staff = button(page, "Fill in staff:{name}")
    await expect(staff).to_be_visible()
    await link(page, "Connection").click()
    await use(page, token(sub="bob"))
    await is_open(page, "bob")
    await expect(fact(page, "Scopes")).to_have_text("none")
    await link(page, "Topics").click()
    await expect(staff).to_have_count(0)


async def test_a_page_of_a_foreign_origin_is_told_what_keeps_it_out(
    windows: Windows, config: Mapping[str, Any]
) -> None:
    elsewhere = {"auth": {"anonymous": True, "origins": ["https://elsewhere.example"]}}
    async with serve_lab({**config, **elsewhere}) as server:
        page = await windows.open(server.address)
        await expect(standing(page)).to_have_text("Closed")
        await expect(notices(page)).to_contain_text(f"This page's origin, {server.address}, must")


async def test_on_a_slow_network_all_goes_well_only_later(
    windows: Windows, server: RunningServer
) -> None:
    page = await windows.open("about:blank")
    await slow_down(page)
    await page.goto(f"{server.address}/#/topics/signed:slow")
    await is_open(page)
    publishing = form(page, "Publish to signed:slow")
    for number in range(5):
        await field(publishing, "text").fill(f"word {number}")
        await button(publishing, "Publish").click()
        await expect(publishing.get_by_role("status")).to_contain_text(f"at offset {number + 1} ")
    await expect(rows(page, "Events of signed:slow")).to_have_text(
        [re.compile(f"word {number}") for number in range(5)]
    )
    await link(page, "Connection").click()
    await expect(state(page)).to_have_text("Open.")


async def test_without_a_network_it_says_so_and_comes_back_with_all_it_missed(
    windows: Windows, config: Mapping[str, Any]
) -> None:
    windows.expect_complaints("net::ERR_INTERNET_DISCONNECTED")
    async with serve_lab(config) as server, server.connect() as client:
        page = await opened(windows, server, "topics/feed:off")
        events = rows(page, "Events of feed:off")
        await expect(region(page, "Topic").get_by_role("status")).to_have_text("Subscribed")
        await client.publish("feed:off", {"text": "before"})
        await expect(events).to_contain_text(["before"])
        await page.context.set_offline(True)
        # Long before a heartbeat is due; and as the server is on this machine, it goes on trying.
        await expect(standing(page)).to_have_text("Reconnecting", timeout=8000)
        await client.publish("feed:off", {"text": "meanwhile"})
        await page.context.set_offline(False)
        await is_open(page)
        await client.publish("feed:off", {"text": "after"})
        await expect(events).to_have_text([re.compile(each) for each in ("before", "mean", "aft")])


async def test_the_panel_of_the_connection_needs_no_mouse(
    windows: Windows, strict_server: RunningServer
) -> None:
    page = await windows.open(strict_server.address)
    keys = page.keyboard
    await tab_to(page.get_by_role("link", name="Skip to the panel"))
    await tab_to(link(page, "Connection"))
    await keys.press("Enter")
    await tab_to(field(page, "Token"))
    await keys.type(token(sub="alice"))
    await keys.press("Enter")
    await is_open(page, "alice")
    frames = page.get_by_role("listbox", name="Frames")
    await expect(rows(page, "Frames").nth(3)).to_be_visible()
    await tab_to(frames)
    await keys.press("Home")
    await expect(group(page, "Sent")).to_contain_text('"auth"')
    await keys.press("ArrowDown")
    await expect(group(page, "Received")).to_contain_text('"welcome"')
    await tab_to(button(page, "Dark theme"))
    await keys.press("Space")
    await expect(button(page, "Dark theme")).to_have_attribute("aria-pressed", "true")
    await page.reload()
    await expect(button(page, "Dark theme")).to_have_attribute("aria-pressed", "true")
    await tab_to(button(page, "Close connection"))
    await keys.press("Enter")
    await expect(standing(page)).to_have_text("Closed")
