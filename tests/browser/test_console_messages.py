"""The console's panel of messages, from its form through the server and back."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import pytest_asyncio
from playwright.async_api import Page, expect

from jackfield.testing import RunningServer
from tests.browser.chromium import Windows
from tests.browser.console import (
    answer,
    button,
    field,
    group,
    link,
    opened,
    region,
    rows,
    standing,
    tab_to,
)
from tests.browser.lab import serve_lab
from tests.support.waiting import wait_until


@pytest_asyncio.fixture(loop_scope="session")
async def server(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    async with serve_lab(config) as running:
        yield running


async def replied(page: Page) -> Any:
    """The payload of the reply that is shown."""
    await expect(answer(page)).to_contain_text(": reply in ")
    return json.loads(await group(page, "Reply").inner_text())


async def test_every_type_is_listed_by_its_plugin_and_found_by_what_it_does(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages")
    types = page.get_by_role("navigation", name="Message types")
    for name in ("lab.order", "topic.publish", "counting.count streams", "session.ping"):
        await expect(link(types, name)).to_be_visible()
    search = page.get_by_role("searchbox", name="Search message types")
    await search.fill("take an ORDER")
    await expect(types.get_by_role("link")).to_have_text(["lab.order"])
    await search.fill("nothing of the kind")
    await expect(types).to_have_text("No message type is like that.")


async def test_what_is_filled_in_is_what_the_server_gets(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages/lab.order")
    form = page.get_by_role("form", name="Message to send")
    await field(form, "name").fill("Ada")
    await field(form, "kind").select_option("tea")
    await field(form, "amount").fill("3")
    await field(form, "urgent").select_option("true")
    await button(form, "Add tags").click()
    await field(form, "tags 1").fill("hot")
    await button(form, "Add to tags").click()
    await field(form, "tags 2").fill("cold")
    await button(form, "Remove tags 1").click()
    await field(form, "price is null").check()
    await field(form, "street").fill("High Street 1")
    await field(form, "extra").fill('{"sugar": [1, null]}')
    await button(form, "New key").click()
    await button(page, "Send").click()
    reply = await replied(page)
    UUID(reply.pop("key"))
    assert reply == {
        "name": "Ada",
        "kind": "tea",
        "amount": 3,
        "urgent": True,
        "tags": ["cold"],
        "price": None,
        "address": {"street": "High Street 1"},
        "extra": {"sugar": [1, None]},
    }


async def test_each_fault_stands_at_the_control_that_it_is_about(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages/lab.order")
    form = page.get_by_role("form", name="Message to send")
    await field(form, "name").fill("Ada")
    await field(form, "amount").fill("21")
    await field(form, "street").fill("x" * 81)
    await field(form, "zip").fill("none")
    await button(page, "Send").click()
    await expect(answer(page)).to_contain_text("error invalid_payload")
    blamed = {
        "amount": "Must be greater than or equal to 1 and less than or equal to 20.",
        "street": "Length must be between 1 and 80.",
        "zip": "String does not match expected pattern.",
        "kind": "Missing data for required field.",
    }
    for name, words in blamed.items():
        control = field(form, name)
        await expect(control).to_have_attribute("aria-invalid", "true")
        await expect(control).to_have_accessible_description(re.compile(re.escape(words)))
    await expect(field(form, "name")).not_to_have_attribute("aria-invalid", "true")
    await button(group(page, "Error"), "Go to /address/zip").click()
    await expect(field(form, "zip")).to_be_focused()
    # What is mended is not blamed any more.
    await field(form, "kind").select_option("water")
    await field(form, "amount").fill("20")
    await field(form, "street").fill("x")
    await field(form, "zip").fill("12345")
    await button(page, "Send").click()
    assert (await replied(page))["amount"] == 20
    for name in blamed:
        await expect(field(form, name)).not_to_have_attribute("aria-invalid", "true")


async def test_form_and_json_are_one_payload(windows: Windows, server: RunningServer) -> None:
    page = await opened(windows, server, "messages/lab.order")
    form = page.get_by_role("form", name="Message to send")
    text = field(form, "Payload as JSON")
    await field(form, "name").fill("Ada")
    await form.get_by_role("tab", name="JSON").click()
    assert json.loads(await text.input_value())["name"] == "Ada"
    await text.fill('{"name": "Bob", ')
    await button(page, "Send").click()
    await expect(answer(page)).to_have_text("Not sent: what is typed is no JSON.")
    await expect(text).to_be_focused()
    await expect(text).to_have_accessible_description(re.compile("This is not JSON"))
    order = {"name": "Bob", "kind": "tea", "address": {"street": "x"}}
    await text.fill(json.dumps({**order, "more": 1}))
    await button(page, "Send").click()
    await expect(answer(page)).to_contain_text("error invalid_payload")
    await expect(text).to_have_accessible_description(re.compile("/more: Unknown field."))
    await text.fill(json.dumps(order))
    await button(page, "Send").click()
    assert await replied(page) == {**order, "amount": 1}
    await form.get_by_role("tab", name="Form").click()
    await expect(field(form, "name")).to_have_value("Bob")


async def test_a_stream_shows_its_chunks_in_their_order_and_then_its_end(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages/counting.count")
    await field(page, "to").fill("5")
    await button(page, "Send").click()
    await expect(answer(page)).to_have_text(re.compile(r"counting\.count: reply in .*, 5 chunks\."))
    await expect(rows(page, "Chunks")).to_have_text(
        [re.compile(rf'^{n} .* \{{"number":{n}\}}') for n in range(5)]
    )
    await rows(page, "Chunks").nth(3).click()
    assert json.loads(await group(page, "Chunk 3").inner_text()) == {"number": 3}


async def test_what_is_under_way_can_be_cancelled(windows: Windows, server: RunningServer) -> None:
    page = await opened(windows, server, "messages/counting.count")
    async with server.connect() as client:
        before = (await client.request("counting.cancelled"))["number"]
        await field(page, "to").fill("2")
        await field(page, "wait").select_option("true")
        await button(page, "Send").click()
        await expect(answer(page)).to_have_text("counting.count is under way.")
        await expect(rows(page, "Chunks")).to_have_count(2)
        await button(region(page, "Answer"), "Cancel").click()
        await expect(answer(page)).to_contain_text("counting.count: error cancelled in ")
        await expect(answer(page)).to_contain_text("2 chunks")

        async def is_told() -> bool:
            return bool((await client.request("counting.cancelled"))["number"] == before + 1)

        await wait_until(is_told)


async def test_an_error_within_the_server_is_an_incident_and_no_more(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages/lab.fail")
    await button(page, "Send").click()
    await expect(answer(page)).to_contain_text("error internal")
    await expect(group(page, "Error")).to_contain_text("incident ")
    await expect(page.get_by_text("the page must not be told")).to_have_count(0)


async def test_what_was_sent_can_be_looked_at_and_sent_again(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages/session.ping")
    sent = page.get_by_role("list", name="Sent messages")
    payload = page.get_by_role("textbox", name="Payload", exact=True)
    await payload.fill('{"n": 1}')
    await button(page, "Send").click()
    assert await replied(page) == {"n": 1}
    await payload.fill('{"n": 2}')
    await button(page, "Send").click()
    await expect(group(page, "Reply")).to_contain_text("2")
    await link(page, "lab.order").click()
    entries = sent.get_by_role("button", name=re.compile(r"^\d\d:\d\d:\d\d session\.ping"))
    await expect(entries).to_have_count(2)
    await entries.last.click()
    await expect(page).to_have_url(re.compile(r"#/messages/session\.ping$"))
    assert json.loads(await payload.input_value()) == {"n": 1}
    assert await replied(page) == {"n": 1}
    await sent.get_by_role("button", name=re.compile("^Resend session.ping")).first.click()
    await expect(entries).to_have_count(3)
    assert await replied(page) == {"n": 2}


async def test_the_panel_of_messages_needs_no_mouse(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages")
    keys = page.keyboard
    await expect(link(page, "lab.order")).to_be_visible()
    await tab_to(page.get_by_role("searchbox", name="Search message types"))
    await keys.type("lab.order")
    await tab_to(link(page, "lab.order"))
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="lab.order", level=1)).to_be_visible()
    await tab_to(field(page, "name"))
    await keys.type("Ada")
    await tab_to(button(page, "Add tags"))
    await keys.press("Space")
    await expect(field(page, "tags 1")).to_be_focused()
    await keys.type("hot")
    await keys.press("Control+Enter")
    await expect(answer(page)).to_contain_text("error invalid_payload")
    await tab_to(button(page, "Go to /kind"))
    await keys.press("Enter")
    await expect(field(page, "kind")).to_be_focused()
    await keys.type("coffee")
    await tab_to(field(page, "street"))
    await keys.type("High Street 1")
    await keys.press("Shift+Tab")
    await tab_to(button(page, "Send"))
    await keys.press("Enter")
    reply = await replied(page)
    assert (reply["kind"], reply["tags"]) == ("coffee", ["hot"])
    await tab_to(page.get_by_role("tab", name="Form"))
    await keys.press("ArrowRight")
    await expect(page.get_by_role("tab", name="JSON")).to_be_focused()
    await expect(field(page, "Payload as JSON")).to_be_visible()


async def test_the_first_load_is_small_and_all_from_the_server_itself(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages")
    loaded = await page.evaluate(
        """() => performance.getEntries()
            .filter(({ entryType }) => ["navigation", "resource"].includes(entryType))
            .map(({ name, transferSize }) => [name, transferSize])"""
    )
    assert all(name.startswith(server.address) for name, _ in loaded)
    sizes = [size for _, size in loaded]
    assert min(sizes) > 0  # else they came from a cache and tell nothing
    assert sum(sizes) < 150_000


async def test_what_a_window_complains_of_fails_its_test(
    windows: Windows, server: RunningServer
) -> None:
    page = await opened(windows, server, "messages")
    assert windows.complaints == []
    await page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'),"
        " { src: 'data:image/gif;base64,R0lGODlhAQABAAAAACw=' }))"
    )
    await page.evaluate("setTimeout(() => { throw new Error('a fault of the page') })")
    await page.evaluate("console.error('a word of the page')")
    await expect(standing(page)).to_be_visible()
    found = "\n".join(windows.complaints)
    for words in ("Content Security Policy", "a fault of the page", "a word of the page"):
        assert words in found
    windows.expect_complaints("")
