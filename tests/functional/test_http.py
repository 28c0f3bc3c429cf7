"""HTTP beside the socket."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from jackfield.testing import run_server

Config = Mapping[str, Any]


async def test_health_and_readiness_are_json(config: Config) -> None:
    async with run_server(config=config) as server, aiohttp.ClientSession() as http:
        for path, body in (
            ("/healthz", {"status": "ok"}),
            ("/readyz", {"status": "ready", "reasons": []}),
        ):
            async with http.get(server.address + path) as response:
                assert response.status == 200
                assert await response.json() == body


async def test_readiness_ends_when_the_server_drains(config: Config) -> None:
    async with run_server(config=config) as server, aiohttp.ClientSession() as http:
        server.node.hub.draining = True
        async with http.get(f"{server.address}/readyz") as response:
            assert response.status == 503
            ready = await response.json()
        assert [reason["reason"] for reason in ready["reasons"]] == ["shutdown"]
        async with http.get(f"{server.address}/healthz") as response:
            assert response.status == 200
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        }
        async with http.get(f"{server.address}/ws", headers=upgrade) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1


async def test_the_websocket_endpoint_refuses_plain_http_in_the_protocols_words(
    config: Config,
) -> None:
    async with run_server(config=config) as server, aiohttp.ClientSession() as http:
        async with http.get(f"{server.address}/ws") as response:
            assert response.status == 426
            assert response.content_type == "application/problem+json"
            problem = await response.json(content_type=None)
        assert (problem["code"], problem["status"]) == ("invalid_message", 426)
        asked = {"Upgrade": "websocket", "Connection": "upgrade"}
        for version, status in (("12", 426), ("13", 400)):  # and without a key
            headers = {**asked, "Sec-WebSocket-Version": version}
            async with http.get(f"{server.address}/ws", headers=headers) as response:
                assert response.status == status
                assert response.content_type == "application/problem+json"
        assert len(server.node.hub) == 0


async def test_metrics_count_replies_and_errors_by_type(config: Config) -> None:
    async with run_server(config=config) as server:
        async with server.connect() as client:
            await client.request("session.ping")
            await client.send("session.whoami", {"unknown": 1})
            await client.send("no.such_type")
            await client.request("session.ping")
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"{server.address}/metrics") as response,
            ):
                assert response.content_type == "text/plain"
                lines = (await response.text()).splitlines()
    assert "jackfield_connections 1.0" in lines
    assert 'jackfield_replies_total{type="session.ping"} 2.0' in lines
    assert 'jackfield_errors_total{code="unknown_type",type=""} 1.0' in lines
    assert 'jackfield_errors_total{code="invalid_payload",type="session.whoami"} 1.0' in lines


async def test_the_root_says_what_this_is(config: Config) -> None:
    async with run_server(config=config) as server, aiohttp.ClientSession() as http:
        async with http.get(server.address) as response:
            about = await response.json()
    assert about["websocket"] == server.url
