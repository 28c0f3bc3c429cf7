import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from jackfield.cli import terminal
from tests.support.commands import Install
from tests.support.distributions import install, plugin


@pytest.fixture(autouse=True)
def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A directory to work in, and logging and modules afterwards as they were before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JACKFIELD_URL", raising=False)
    monkeypatch.setattr(terminal.out, "width", 200)
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Installs a plugin for the time of a test, by its name and source."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install_there(name: str, source: str | None = None) -> None:
        install(site, name, plugin(name) if source is None else source)

    return install_there


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{unused.getsockname()[1]}/ws"
