"""The JavaScript client: its own tests against real servers, its types and its size."""

import asyncio
import json
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.node import CLIENT, TSC, node_environment
from tests.support.nodes import NodeProcess, serving
from tests.support.paths import ROOT
from tests.support.tokens import jwt_section, token

PLUGINS: Final = (ROOT / "tests/support/rooms.py", ROOT / "tests/support/counting.py")
#: Seconds. All tests of the client take a tenth of it where nothing else runs.
_PATIENCE: Final = 240


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Variables for node, whose packages are installed."""
    return dict(node_environment())


def _run(variables: Mapping[str, str], *command: str, cwd: Path = CLIENT) -> str:
    """Run a program to its end, which must be a good one; what it wrote."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Servers:
    """What the tests ask for over HTTP: servers that come and go, and tokens that they take.

    Args:
        config: What all servers have in common.
        directory: Where the key of the tokens may lie.
    """

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        self._config = config
        self._directory = directory
        self._stack = AsyncExitStack()
        self._servers: list[NodeProcess] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve them while the context lasts, at the address that it gives."""
        app = web.Application()
        for name in ("serve", "kill", "terminate", "token", "signed"):
            app.router.add_post(f"/{name}", getattr(self, f"_{name}"))
        async with self._stack, TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")

    async def _serve(self, request: web.Request) -> web.Response:
        asked = await request.json()
        config = {
            name: {**self._config.get(name, {}), **asked.get(name, {})}
            for name in {**self._config, **asked}
        }
        server = await self._stack.enter_async_context(serving(config, *PLUGINS))
        self._servers.append(server)
        return web.json_response({"id": len(self._servers) - 1, "url": server.url})

    async def _kill(self, request: web.Request) -> web.Response:
        await self._servers[(await request.json())["id"]].kill()
        return web.json_response({})

    async def _terminate(self, request: web.Request) -> web.Response:
        status = await self._servers[(await request.json())["id"]].terminate()
        return web.json_response({"status": status})

    async def _token(self, request: web.Request) -> web.Response:
        asked = await request.json()
        lifetime = asked.pop("lifetime", 600)
        return web.json_response({"token": token(exp=int(time.time()) + lifetime, **asked)})

    async def _signed(self, _: web.Request) -> web.Response:
        section = jwt_section(self._directory, leeway="0s")
        return web.json_response({f"jwt__{name}": value for name, value in section.items()})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package, for what leaves files behind."""
    copy = tmp_path / "client"
    shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("node_modules", "types"))
    (copy / "node_modules").symlink_to(CLIENT / "node_modules")
    return copy


@pytest.mark.timeout(_PATIENCE)
async def test_the_clients_own_tests_pass_against_real_servers(
    environment: dict[str, str], config: dict[str, Any], tmp_path: Path
) -> None:
    config["plugins"] = {"disabled": ["chat"]}  # its rooms have the names of those below
    config["drain"] = {"deadline": "2s"}
    # Tests say much at once.
    config["limits"] = {"requests_per_second": 10_000, "publishes_per_second": 10_000}
    async with Servers(config, tmp_path).listening() as address:
        process = await asyncio.create_subprocess_exec(
            *(
                "node",
                "--test",
                "--test-reporter",
                "spec",
                *map(str, CLIENT.glob("test/*.test.js")),
            ),
            cwd=CLIENT,
            env={**environment, "JACKFIELD_CONTROL": address},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            written, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    text = written.decode()
    assert process.returncode == 0, text
    assert "skipped 0" in text, text


def test_the_clients_types_hold(environment: dict[str, str]) -> None:
    _run(environment, "npm", "run", "--silent", "check")


def test_the_client_is_as_small_as_it_says(environment: dict[str, str]) -> None:
    assert "8192 at most" in _run(environment, "npm", "run", "--silent", "size")


#: What a page's author writes; each line behind a directive must be refused by the compiler.
_CONSUMER: Final = """
import { connect, JackfieldError } from "jackfield";

declare module "jackfield" {
  interface Requests {
    "chat.send": { payload: { room: string; text: string }; reply: { offset: number } };
    "chat.count": { payload: { to?: number }; reply: {}; chunk: { number: number } };
  }
  interface Topics {
    [topic: `room:${string}`]: { nick: string };
  }
}

const client = connect("ws://127.0.0.1/ws", { token: async () => "…" });
const offset: number = (await client.request("chat.send", { room: "a", text: "b" })).offset;
// @ts-expect-error
await client.request("chat.send", { room: "a" });
// @ts-expect-error
await client.request("chat.send");
// @ts-expect-error
const text: string = (await client.request("chat.send", { room: "a", text: "b" })).offset;
for await (const chunk of client.stream("chat.count")) {
  const number: number = chunk.number;
  // @ts-expect-error
  const wrong: string = chunk.number;
}
await client.request("other.thing", { any: 1 }, { timeout: 10, signal: AbortSignal.timeout(9) });
const name = "lobby";
client.subscribe(`room:${name}`, {
  onEvent: ({ payload }) => {
    const nick: string = payload.nick;
    // @ts-expect-error
    payload.nock;
  },
});
for await (const { payload } of client.subscribe("elsewhere")) payload.anything;
client.on("state", (state) => state === "open");
// @ts-expect-error
client.on("nothing", () => {});
client.on("error", (error: JackfieldError) => error.field("text")?.message);
client.off("state", client.once("state", (state) => state === "idle"));
const { events } = await client.history("elsewhere", { limit: 1, signal: AbortSignal.timeout(9) });
const key: string = events[0].id;
// @ts-expect-error
await client.history("elsewhere", { limits: 1 });
await client.presence("elsewhere", { timeout: null });
client.subscribe("elsewhere").on("close", (error) => error?.code);
connect("ws://127.0.0.1/ws", { token: () => null, timeout: 10, debug: true }).connect();
const run = client.call({ skill: "summarise" }, { text: "…" }, { detach: true });
const id: string = await run.task;
run.on("state", ({ prompt }) => prompt?.message);
"""


def test_what_is_published_has_types_that_know_the_servers_messages(
    environment: dict[str, str], source: Path, tmp_path: Path
) -> None:
    _run(environment, "npm", "pack", "--silent", "--pack-destination", str(tmp_path), cwd=source)
    (archive,) = tmp_path.glob("jackfield-*.tgz")
    page = tmp_path / "page"
    installed = page / "node_modules" / "jackfield"
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
        packed.extractall(page, filter="data")
    assert {"package/LICENSE", "package/README.md", "package/types/index.d.ts"} <= names
    assert not [name for name in names if "/test/" in name or "node_modules" in name]
    installed.parent.mkdir()
    (page / "package").rename(installed)
    (page / "page.ts").write_text(_CONSUMER, "utf-8")
    (page / "package.json").write_text('{"type": "module"}', "utf-8")
    options = {
        "strict": True,
        "noEmit": True,
        "target": "ES2022",
        "module": "NodeNext",
        "types": [],
    }
    settings = {"compilerOptions": options, "files": ["page.ts"]}
    (page / "tsconfig.json").write_text(json.dumps(settings), "utf-8")
    _run(environment, str(TSC), "--project", str(page))


_PAGE: Final = ROOT / "docs" / "guide" / "javascript.md"
_BLOCK: Final = re.compile(r"^```(js|ts)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_compiler_finds_no_fault_with_the_documentation(
    environment: dict[str, str], tmp_path: Path
) -> None:
    blocks = _BLOCK.findall(_PAGE.read_text("utf-8"))
    assert blocks
    for number, (language, text) in enumerate(blocks):
        before = (
            ""
            if "import " in text
            else 'import { connect } from "jackfield";\nvar client = connect("/ws");\n'
        )
        (tmp_path / f"block{number}.{language}").write_text(before + text, "utf-8")
    (tmp_path / "ws.d.ts").write_text('declare module "ws" { const WebSocket: any; }', "utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    options = {
        "allowJs": True,
        "checkJs": True,
        "strict": True,
        "noEmit": True,
        "target": "ES2022",
        "module": "NodeNext",
        "paths": {"jackfield": [str(CLIENT / "src" / "index.js")]},
        "types": [],
    }
    settings = {"compilerOptions": options, "include": ["*"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings), "utf-8")
    _run(environment, str(TSC), "--project", str(tmp_path))


def test_every_code_and_event_of_the_client_is_explained() -> None:
    page = _PAGE.read_text("utf-8")
    sources = "\n".join(path.read_text("utf-8") for path in (CLIENT / "src").glob("*.js"))
    codes = set(re.findall(r'failure\(\s*"(\w+)"', sources))
    assert len(codes) > 10
    for code in codes - {"unauthenticated", "unrecoverable"}:  # those are the server's
        assert f"\n| `{code}` |" in page, code
    (events,) = re.findall(r"@typedef \{object\} ClientEvents\n(.*?)\*/", sources, re.DOTALL)
    (options,) = re.findall(r"@typedef \{object\} Options\n(.*?)\*/", sources, re.DOTALL)
    names = re.findall(r"@property \{.*\} \[?(\w+)", events + options)
    assert len(names) == 16
    for name in names:
        assert f"\n| `{name}` |" in page, name


def test_the_package_is_of_this_release_and_needs_nothing() -> None:
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    assert f"\nversion = {package['version']}\n" in setup
    assert "dependencies" not in package
    assert (CLIENT / "LICENSE").read_text("utf-8") == (ROOT / "LICENSE").read_text("utf-8")
