"""`jackfield types` as a whole process: what it writes, the client's compiler then checks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.distributions import install, plugin
from tests.support.node import CLIENT
from tests.support.typescript import compile_all, run_tsc

#: A third party's plugin: what it has in its sets, it has in another order in each process.
ROOMS = """
    from marshmallow import Schema, fields, validate
    from jackfield import Plugin

    print("Imported.")

    class Thread(Schema):
        text = fields.String(required=True)
        replies = fields.List(fields.Nested(lambda: Thread()))

    class Look(Schema):
        mood = fields.String(validate=validate.OneOf({"calm", "angry", "happy", "sad"}))

    class Line(Schema):
        thread = fields.Nested(Thread, required=True)

    class Typing(Schema):
        user = fields.String(required=True)

    rooms = Plugin("rooms")
    rooms.topic("rooms:{name}", Line)
    rooms.topic("rooms:{name}:typing", Typing)

    @rooms.handler("rooms.look", Look, reply=Line, scopes=["look", "see"])
    async def look(ctx, data):
        '''See what is there.'''

    @rooms.handler("rooms.read", Look, reply=Thread)
    async def read(ctx, data):
        '''Read it all.'''
        yield {}
"""

BROKEN = "raise RuntimeError('no such thing')"

#: A default that the field could not have, which nobody sees until it is written down.
NOT_DESCRIBABLE = """
    from marshmallow import Schema, fields
    from jackfield import Plugin

    class Payload(Schema):
        at = fields.DateTime(load_default="soon")

    odd = Plugin("odd")

    @odd.handler("odd.make", Payload)
    async def make(ctx, data):
        pass
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where plugins are installed for the time of a test."""
    site = tmp_path / "site"
    site.mkdir()
    return site


def types(
    site: Path, *options: str, language: str = "--typescript", seed: str = "random"
) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory of its own, to its end; it has half a minute."""
    directory = site.parent / "work"
    directory.mkdir(exist_ok=True)
    given = os.environ.get("PYTHONPATH")
    searched = [str(site), *([given] if given else [])]
    return subprocess.run(
        [sys.executable, "-m", "jackfield", "types", *filter(None, [language]), *options],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(searched),
            "PYTHONHASHSEED": seed,
            "COLUMNS": "80",
        },
    )


def test_it_writes_the_types_of_every_plugin_and_nothing_else(site: Path) -> None:
    install(site, "rooms", ROOMS)
    done = types(site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("// Written by `jackfield types --typescript`")
    assert "Imported." not in done.stdout
    for expected in (
        '    "session.whoami": {\n',
        '     * Scopes: look, see.\n     */\n    "rooms.look": {\n',
        "  interface Thread {\n    text: string;\n    replies?: Rooms.Thread[];\n  }\n",
        "    broadcast: {",
        "    [topic: `rooms:${string}:typing`]: {",
    ):
        assert expected in done.stdout


def test_it_is_the_same_in_every_process(site: Path) -> None:
    install(site, "rooms", ROOMS)
    assert len({types(site, seed=str(seed)).stdout for seed in range(3)}) == 1


def test_what_the_configuration_disables_has_no_types(site: Path, tmp_path: Path) -> None:
    install(site, "rooms", ROOMS)
    config = tmp_path / "jackfield.toml"
    config.write_text('[plugins]\ndisabled = ["rooms"]\n')
    done = types(site, "--config", str(config))
    assert done.returncode == 0
    assert "session.ping" in done.stdout
    assert "rooms" not in done.stdout


def test_a_file_has_what_standard_output_would_have(site: Path, tmp_path: Path) -> None:
    install(site, "maker", plugin("maker"))
    done = types(site, "--output", "messages.d.ts")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "work/messages.d.ts").read_text("utf-8")
    assert written == types(site).stdout == types(site, "--output", "-").stdout
    count = len(re.findall(r'^    "[a-z.]+": {$', written, re.MULTILINE))
    assert done.stdout.startswith(f"messages.d.ts has {count} message types and ")


def test_a_file_that_is_up_to_date_passes_the_check_whatever_its_line_ends(
    site: Path, tmp_path: Path
) -> None:
    types(site, "-o", "messages.d.ts")
    assert types(site, "-o", "messages.d.ts", "--check").returncode == 0
    file = tmp_path / "work/messages.d.ts"
    as_on_windows = file.read_bytes().replace(b"\n", b"\r\n")
    file.write_bytes(as_on_windows)
    done = types(site, "-o", "messages.d.ts", "--check")
    assert (done.returncode, done.stdout) == (0, "messages.d.ts is up to date.\n")
    assert file.read_bytes() == as_on_windows


def test_a_file_that_is_not_up_to_date_fails_the_check_and_stays(
    site: Path, tmp_path: Path
) -> None:
    types(site, "-o", "messages.d.ts")
    file = tmp_path / "work/messages.d.ts"
    before = file.read_text("utf-8")
    install(site, "maker", plugin("maker"))
    config = tmp_path / "jackfield.toml"
    config.touch()
    done = types(site, "-o", "messages.d.ts", "--check", "-c", str(config))
    assert done.returncode == 1
    assert '+    "maker.make": {' in done.stdout.splitlines()
    assert done.stderr.splitlines() == [
        "messages.d.ts is not what the plugins declare.",
        f"Write it with: jackfield types --typescript --config {config} --output messages.d.ts",
    ]
    assert file.read_text("utf-8") == before


def test_a_file_that_is_not_there_fails_the_check(site: Path, tmp_path: Path) -> None:
    done = types(site, "-o", "messages.d.ts", "--check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("messages.d.ts is not there.\nWrite it with: jackfield types ")
    assert not (tmp_path / "work/messages.d.ts").exists()


@pytest.mark.parametrize(
    ("language", "options", "told"),
    [
        ("", [], "Choose a language; there is one: --typescript."),
        ("--typescript", ["--check"], "--check needs --output FILE, the file to check."),
        ("--typescript", ["--check", "-o", "-"], "--check needs --output FILE"),
        ("--typescript", ["-o", "."], "is a directory"),
    ],
)
def test_wrong_usage_is_told(site: Path, language: str, options: list[str], told: str) -> None:
    done = types(site, *options, language=language)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_nothing_is_written_while_a_plugin_fails(site: Path, tmp_path: Path) -> None:
    install(site, "broken", BROKEN)
    done = types(site, "-o", "messages.d.ts")
    assert (done.returncode, done.stdout) == (1, "")
    headline, reason = done.stderr.splitlines()
    assert headline == "Types need every plugin, and not all are fine."
    assert "plugin 'broken'" in reason
    assert "no such thing" in reason
    assert not (tmp_path / "work/messages.d.ts").exists()


def test_a_schema_that_nobody_can_describe_is_named(site: Path) -> None:
    install(site, "odd", NOT_DESCRIBABLE)
    done = types(site)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The payload of odd.make can't be described: TypeError: ")


def test_a_file_that_can_not_be_written_is_told(site: Path) -> None:
    done = types(site, "-o", "absent/messages.d.ts")
    assert done.returncode == 1
    assert done.stderr == "absent/messages.d.ts can't be written: No such file or directory.\n"


# With the client


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose ``node_modules`` has the client, as npm would install it."""
    directory = tmp_path_factory.mktemp("frontend")
    package = directory / "node_modules" / "jackfield"
    package.mkdir(parents=True)
    shutil.copy(CLIENT / "package.json", package)
    declarations = package / "types"
    project = CLIENT / "tsconfig.types.json"
    assert run_tsc("-p", str(project), "--outDir", str(declarations), cwd=CLIENT) == []
    shutil.copy(CLIENT / "src/registry.d.ts", declarations)
    return directory


def compiled(package: Path, written: str, uses: str) -> list[int]:
    """The lines of a program with the written types that the compiler refuses."""
    program = 'import { connect } from "jackfield";\nconst client = connect("/ws");\n' + uses
    said = compile_all(
        package,
        {"messages.d.ts": written, "uses.ts": program},
        lib=["ES2024", "DOM", "DOM.AsyncIterable"],
    )
    # What goes on for another line is indented.
    places = [line.partition("(")[::2] for line in said if not line.startswith(" ")]
    assert {file for file, _ in places} <= {"uses.ts"}, said
    return sorted({int(rest.partition(",")[0]) - 2 for _, rest in places})


RIGHT = """\
const { offset } = await client.request("chat.send", { room: "lobby", text: "hi" });
const next: number = offset + 1;
await client.request("session.whoami");
await client.request("rooms.look", { mood: "calm" }, { timeout: 5000 });
for await (const thread of client.stream("rooms.read")) thread.replies?.[0]?.replies;
for await (const { payload } of client.subscribe("room:lobby")) payload.text.trim();
for await (const { payload } of client.subscribe("rooms:lobby:typing")) payload.user.trim();
await client.request("undeclared.type", { anything: 1 });
export const name = (await client.request("session.whoami")).user ?? "nobody";
"""
WRONG = """\
await client.request("chat.send", { wrong: 1 });
await client.request("chat.send", { room: "lobby", text: 1 });
await client.request("chat.send", { room: "lobby", text: "hi", loud: true });
await client.request("chat.send");
await client.request("session.whoami", { user: "ada" });
await client.request("rooms.look", { mood: "bored" });
const epoch: number = (await client.request("chat.send", { room: "a", text: "b" })).epoch;
for await (const thread of client.stream("rooms.read")) thread.replys;
for await (const { payload } of client.subscribe("room:lobby")) payload.txt;
"""


def test_the_compiler_knows_every_message_and_event(site: Path, package: Path) -> None:
    install(site, "rooms", ROOMS)
    assert compiled(package, types(site).stdout, RIGHT) == []


def test_the_compiler_refuses_each_message_that_the_server_would(site: Path, package: Path) -> None:
    install(site, "rooms", ROOMS)
    refused = compiled(package, types(site).stdout, WRONG)
    assert refused == list(range(1, 1 + len(WRONG.splitlines())))


def test_without_the_types_the_compiler_lets_all_of_it_pass(package: Path) -> None:
    assert compiled(package, "export {};\n", WRONG + RIGHT.partition("\n")[0]) == []
