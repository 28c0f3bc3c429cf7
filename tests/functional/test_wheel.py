"""What a stranger gets: wheels in an empty environment, and the README's plugin beside them."""

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Installing from an index takes as long as the network does.
pytestmark = pytest.mark.timeout(300)

LOCK = ("--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements" / "run.txt")
#: Without an index and with the build tools that are here: nothing is installed that no lock names.
OWN = ("--no-index", "--no-deps", "--no-build-isolation")
QUIET = ("--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing in it but Jackfield's wheel and what is locked for it."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build(ROOT, folder)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", *QUIET, *LOCK)
    run(python, "-m", "pip", "install", *QUIET, *OWN[:2], wheel)
    run(python, "-m", "pip", "check")
    return python.parent


def build(source: Path, folder: Path) -> Path:
    """Build a wheel from a copy of a distribution, so that nothing is left in the source."""
    copy = folder / f"source-{source.name}"
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=source)
    for name in files.splitlines():
        if (source / name).is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / name).read_bytes())
    return build_in_place(copy, folder)


def build_in_place(source: Path, folder: Path) -> Path:
    target = folder / f"wheel-{source.name}"
    run(sys.executable, "-m", "pip", "wheel", *QUIET, *OWN, "--wheel-dir", target, source)
    (wheel,) = target.glob("*.whl")
    return wheel


@contextmanager
def serving(commands: Path) -> Iterator[str]:
    """`jackfield serve` of that environment, and where its WebSocket is."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        [commands / "jackfield", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ,
    ) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().split()[-1]
            yield address.replace("http", "ws", 1) + "/ws"
        finally:
            server.terminate()
        assert server.wait(30) == 0


def test_the_wheel_serves_in_an_empty_environment(environment: Path) -> None:
    with serving(environment) as url:
        answer = run(
            *(environment / "jackfield", "call", "--url", url),
            *("session.ping", '{"hello": "world"}'),
        )
    assert json.loads(answer) == {"hello": "world"}


def test_the_readmes_plugin_loads_from_its_own_wheel(environment: Path, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## A plugin, whole")[1].split("\n## ")[0]
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL))
    source = tmp_path / "jackfield-greeter"
    source.mkdir()
    (source / "greeter.py").write_text(blocks["python"])
    (source / "setup.cfg").write_text(blocks["ini"])
    (source / "pyproject.toml").write_text(blocks["toml"])
    wheel = build_in_place(source, tmp_path)
    run(environment / "pip", "install", *QUIET, "--no-index", wheel)

    plugins = json.loads(run(environment / "jackfield", "plugins", "--json"))
    (greeter,) = (plugin for plugin in plugins if plugin["name"] == "greeter")
    assert greeter["distribution"] == "jackfield-greeter"
    assert greeter["state"] == "loaded"
    with serving(environment) as url:
        answer = run(
            *(environment / "jackfield", "call", "--url", url),
            *("greeter.hello", '{"name": "Ada"}'),
        )
    assert json.loads(answer) == {"greeting": "Hello Ada"}


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "-l", build(ROOT, tmp_path))
    tops = {line.split("/")[0] for line in names.splitlines()[1:]}
    packages = {"jackfield", "jackfield_client", "jackfield_handlers"}
    assert {top for top in tops if ".dist-info" not in top} == packages
    assert "jackfield/py.typed" in names
    assert ".lua" in names
    for page in ("index.html", "base.css", "main.js"):
        assert f"jackfield/http/console/static/{page}" in names
    # The client's modules, and nothing else of its folder.
    client = {line.split()[0] for line in names.splitlines() if line.startswith("jackfield_client")}
    modules = {path.name for path in (ROOT / "client/src").glob("*.js")}
    assert client == {"jackfield_client/__init__.py"} | {
        f"jackfield_client/src/{name}" for name in modules
    }
