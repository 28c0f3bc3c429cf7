"""The chat's page: two people, their rooms, and an agent, from one window to the other."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest_asyncio
from playwright.async_api import expect

from jackfield.client import Client
from jackfield.testing import RunningServer
from tests.browser.chat import enter, give_name, is_in, people, said, serve_chat, shows, told, write
from tests.browser.chromium import Windows, slow_down
from tests.browser.conftest import Photograph
from tests.browser.console import (
    button,
    field,
    form,
    is_empty,
    link,
    region,
    tab_to,
)
from tests.browser.eyes import WIDTHS, Eyes
from tests.browser.lab import Parrot
from tests.support.tokens import jwt_section, token
from tests.support.waiting import wait_until

#: Messages that the page reads of a room's past at once.
_PAGE: Final = 50


@pytest_asyncio.fixture(loop_scope="session")
async def server(config: Mapping[str, Any]) -> AsyncIterator[RunningServer]:
    auth = {"anonymous": True, "anonymous_scopes": ["agent"]}
    # Tests say much at once.
    async with serve_chat(config, auth=auth, limits={"requests_per_second": 10_000}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def carol(server: RunningServer) -> AsyncIterator[Client]:
    """Somebody without a window, who is in no room."""
    async with server.connect() as client:
        await client.request("chat.nick", {"nick": "Carol"})
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def parrot(server: RunningServer) -> AsyncIterator[Parrot]:
    """An agent that can be asked."""
    parrot = Parrot(server.url)
    parrot.agent.skill("chat")(parrot.hold)
    async with parrot.agent.running():
        yield parrot


async def test_two_people_see_each_other_and_what_they_say_though_their_servers_differ(
    windows: Windows, server: RunningServer, config: Mapping[str, Any]
) -> None:
    async with serve_chat(config) as other:
        ada = await enter(windows, server.address, "Ada")
        ben = await enter(windows, other.address, "Ben")
        await expect(people(ada)).to_have_text(["AAda (you)", "BBen"])
        await expect(people(ben)).to_have_text(["BBen (you)", "AAda"])
        await write(ada, "Hello")
        await write(ben, "Hello <b>yourself</b>")
        for page in (ada, ben):
            await shows(page, "Ada: Hello", "Ben: Hello <b>yourself</b>")
        await ben.close()
        await expect(people(ada)).to_have_text(["AAda (you)"])
        await expect(ada.get_by_role("log", name="Messages", exact=True)).to_contain_text(
            "Ben left"
        )


async def test_what_was_said_before_is_there_and_more_of_it_further_up(
    windows: Windows, server: RunningServer, carol: Client
) -> None:
    lines = [f"Line {number}" for number in range(1, _PAGE + 11)]
    for line in lines:
        await carol.request("chat.send", {"room": "lobby", "text": line})
    page = await enter(windows, server.address, "Ada")
    await shows(page, *(f"Carol: {line}" for line in lines[-_PAGE:]))
    await region(page, "Conversation in lobby").evaluate("room => room.scrollTop = 0")
    await shows(page, *(f"Carol: {line}" for line in lines))
    await page.reload()
    await is_in(page)
    await shows(page, *(f"Carol: {line}" for line in lines[-_PAGE:]))
    assert await said(page).count() == _PAGE


async def test_names_and_rooms_that_are_none_are_blamed_at_their_fields(
    windows: Windows, server: RunningServer
) -> None:
    page = await windows.open(f"{server.address}/chat")
    name = field(form(page, "Your name"), "Name")
    for wrong, words in (("", "Enter a name."), ("x" * 40, "Length must be between 1 and 32.")):
        await give_name(page, wrong)
        await expect(name).to_have_attribute("aria-invalid", "true")
        await expect(name).to_have_accessible_description(words)
    await give_name(page, "Ada")
    await is_in(page)
    room = page.get_by_role("textbox", name="Join a room", exact=True)
    await room.fill("no room")
    await room.press("Enter")
    await expect(room).to_have_attribute("aria-invalid", "true")
    await expect(room).to_have_accessible_description(re.compile("a-z, 0-9"))


async def test_what_is_refused_can_be_written_differently(
    windows: Windows, server: RunningServer
) -> None:
    page = await enter(windows, server.address, "Ada")
    await write(page, "x" * 4097)
    await expect(told(page)).to_have_text("Not sent: Length must be between 1 and 4096.")
    await button(page, "Edit").click()
    await expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("x" * 4097)
    await write(page, "short")
    await shows(page, "Ada: short")
    await expect(told(page)).to_have_count(0)


async def test_rooms_are_apart_and_count_what_nobody_has_read(
    windows: Windows, server: RunningServer, carol: Client
) -> None:
    page = await enter(windows, server.address, "Ada")
    await page.get_by_role("textbox", name="Join a room", exact=True).fill("kitchen")
    await button(page, "Join").click()
    await expect(page.get_by_role("heading", name="#kitchen", level=1)).to_be_visible()
    await expect(people(page)).to_have_count(1)
    await carol.request("chat.send", {"room": "lobby", "text": "one"})
    await carol.request("chat.send", {"room": "lobby", "text": "two"})
    lobby = link(page, "#lobby 2 unread")
    await expect(lobby).to_be_visible()
    await expect(page).to_have_title("(2) #kitchen · Jackfield chat")
    await write(page, "Tea?")
    await shows(page, "Ada: Tea?")
    await lobby.click()
    await shows(page, "Carol: one", "Carol: two")
    await expect(page).to_have_title("#lobby · Jackfield chat")
    await button(page, "Leave kitchen").click()
    await expect(link(page, "#kitchen")).to_have_count(0)
    await wait_until(lambda: is_empty(carol, "room:kitchen"))


async def test_an_agent_answers_who_asks_word_by_word_and_the_others_at_once(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    ada = await enter(windows, server.address, "Ada")
    ben = await enter(windows, server.address, "Ben")
    await write(ada, "@agent Pretty boy")
    answer = ada.get_by_role("article", name="The agent's answer to you", exact=True)
    await expect(answer).to_contain_text("Pretty")
    await expect(answer).not_to_contain_text("boy")
    await shows(ben, "Ada: Pretty boy")
    parrot.may_go_on.set()
    for page in (ada, ben):
        await shows(page, "Ada: Pretty boy", "The agent: Pretty boy ")
    await expect(told(ada)).to_have_count(0)


async def test_an_answer_can_be_cancelled_and_its_agent_is_told(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await enter(windows, server.address, "Ada")
    await page.get_by_role("textbox", name="Message", exact=True).fill("Never mind")
    await button(page, "Ask the agent").click()
    answer = page.get_by_role("article", name="The agent's answer to you", exact=True)
    await expect(answer).to_contain_text("Never")
    await button(page, "Cancel answer").click()
    await expect(told(page)).to_contain_text("You have cancelled the answer.")
    await wait_until(parrot.was_cancelled.is_set)
    await button(page, "Discard").click()
    await shows(page, "Ada: Never mind")


async def test_without_an_agent_a_question_is_not_put(
    windows: Windows, server: RunningServer
) -> None:
    page = await enter(windows, server.address, "Ada")
    await write(page, "@agent Anybody?")
    await expect(told(page)).to_have_text("Not sent: No agent is here to answer.")
    await shows(page)


async def test_a_name_can_be_changed_and_the_others_see_it(
    windows: Windows, server: RunningServer
) -> None:
    ada = await enter(windows, server.address, "Ada")
    ben = await enter(windows, server.address, "Ben")
    await button(ben, "Change your name, Ben").click()
    await give_name(ben, "Benny")
    await expect(people(ada)).to_have_text(["AAda (you)", "BBenny"])
    await write(ben, "It is me")
    await shows(ada, "Benny: It is me")


async def test_a_token_is_asked_for_and_when_it_runs_out_a_new_one(
    windows: Windows, config: Mapping[str, Any], tmp_path: Path
) -> None:
    auth = {"jwt": jwt_section(tmp_path, leeway="0s"), "warn_before": "0s", "grace": "0s"}
    async with serve_chat(config, auth={**auth, "timeout": "1s"}) as server:
        page = await windows.open(f"{server.address}/chat")
        await give_name(page, "Ada")
        secret = field(page, "Token")
        await expect(secret).to_have_accessible_description(re.compile(r"wants a token \(4505"))
        await secret.fill("forged")
        await button(page, "Start chatting").click()
        await expect(secret).to_have_accessible_description(re.compile(r"wants a token \(4501"))
        # Long enough for a slow machine to write in, short enough to be waited for.
        await secret.fill(token(sub="ada", exp=int(time.time()) + 6))
        await button(page, "Start chatting").click()
        await is_in(page)
        await write(page, "before")
        await shows(page, "Ada: before")
        await expect(secret).to_have_accessible_description(re.compile(r"wants a token \(4002"))
        async with server.connect(token=token(sub="carol")) as carol:
            await carol.request("chat.nick", {"nick": "Carol"})
            await carol.request("chat.send", {"room": "lobby", "text": "meanwhile"})
        await secret.fill(token(sub="ada"))
        await button(page, "Start chatting").click()
        await is_in(page)
        await write(page, "after")
        await shows(page, "Ada: before", "Carol: meanwhile", "Ada: after")


async def test_on_a_slow_network_what_is_said_arrives_once_and_in_order(
    windows: Windows, server: RunningServer
) -> None:
    page = await windows.open("about:blank")
    await slow_down(page)
    await page.goto(f"{server.address}/chat")
    await give_name(page, "Ada")
    for number in range(5):
        await write(page, f"word {number}")  # the first of them while it still connects
    await shows(page, *(f"Ada: word {number}" for number in range(5)))
    await expect(told(page)).to_have_count(0)


async def test_the_chat_needs_no_mouse(
    windows: Windows, server: RunningServer, parrot: Parrot
) -> None:
    page = await windows.open(f"{server.address}/chat")
    keys = page.keyboard
    await tab_to(field(form(page, "Your name"), "Name"))
    await keys.type("Ada")
    await keys.press("Enter")
    await is_in(page)
    message = page.get_by_role("textbox", name="Message", exact=True)
    await expect(message).to_be_focused()
    await keys.type("one line")
    await keys.press("Shift+Enter")
    await keys.type("and one more")
    await keys.press("Enter")
    await expect(said(page)).to_contain_text(["one line\nand one more"])
    await expect(message).to_be_focused()
    await keys.type("Polly")
    await tab_to(button(page, "Ask the agent"))
    await keys.press("Enter")
    await expect(page.get_by_text("Polly").last).to_be_visible()
    await tab_to(button(page, "Cancel answer"))
    await keys.press("Enter")
    await expect(told(page)).to_contain_text("You have cancelled")
    await tab_to(button(page, "Discard"))
    await keys.press("Enter")
    await expect(message).to_be_focused()
    await tab_to(page.get_by_role("textbox", name="Join a room", exact=True))
    await keys.type("kitchen")
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="#kitchen", level=1)).to_be_visible()
    await expect(message).to_be_focused()
    await tab_to(button(page, "Leave kitchen"))
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="#lobby", level=1)).to_be_visible()


@WIDTHS
async def test_the_chat_is_there_for_everybody(
    windows: Windows,
    parrot: Parrot,
    carol: Client,
    photograph: Photograph,
    width: int,
) -> None:
    address = parrot.agent.url.replace("ws", "http", 1).removesuffix("/ws")
    page = await windows.open(f"{address}/chat", width=width)
    eyes = Eyes(page, f"chat-{width}", photograph)
    await give_name(page, "")
    await eyes.look("name")
    await give_name(page, "Ada")
    await is_in(page)
    await eyes.look("empty")
    async with carol.subscribe("room:lobby"):
        await expect(page.get_by_text("Carol joined")).to_be_visible()
    await carol.request("chat.send", {"room": "lobby", "text": "Has anybody seen the parrot?"})
    await write(page, "x" * 4097)
    await expect(told(page)).to_contain_text("Not sent")
    await eyes.look("refused")
    await button(page, "Discard").click()
    await write(page, "It has flown away.\nAsk it yourself.")
    await write(page, "@agent Here it is")
    await expect(page.get_by_role("article", name="The agent's answer to you")).to_be_visible()
    await eyes.look("answer")
    if width < 500:
        await button(page, "Rooms").click()
        await eyes.look("rooms")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name=re.compile("^People")).click()
        await eyes.look("people")
