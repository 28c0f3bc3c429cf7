"""The TOML file: read with the place of every key, or refused with the place of the fault."""

from pathlib import Path

import pytest

from jackfield.config.problems import ConfigError, Problem
from jackfield.config.sources import read_toml


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jackfield.toml"


def fault_of(path: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    (problem,) = caught.value.problems
    return problem


def test_every_spelling_of_a_key_has_its_line(path: Path) -> None:
    path.write_text("""\
# [server] in a comment
server.port = "a"  # a dotted key = here
"server" . 'ho.st' = 1
limits = { connections = "x",  in_flight = "y" }

[redis]
prefix = '''
[logging]
level = 1'''
url = \"\"\"a # b
\\"\"\"\"\"\"
timeout = [
  1, # ]
  "]",
]
pool = "]"
[ "connections" ]
  heartbeat = "z"
[plugins]\r
enabled = [1]\r
[[plugins.chat.rooms]]
[[plugins.chat.rooms]]
name = 'a'
[plugins.chat.rooms.limits]
size = 1
""")
    layer = read_toml(path)

    def line(*key: str | int) -> str:
        return layer.place(key).removeprefix(f"{path}:")

    assert line("server", "port") == "2"
    assert line("server", "ho.st") == "3"
    assert line("limits", "in_flight") == "4"  # with the table it is in
    assert line("redis") == "6"
    assert line("redis", "prefix") == "7"
    assert line("redis", "url") == "10"
    assert line("redis", "timeout", 1) == "12"
    assert line("redis", "pool") == "16"
    assert line("connections", "heartbeat") == "18"
    assert line("plugins", "enabled") == "20"
    assert line("plugins", "chat", "rooms", 0, "name") == "21"
    assert line("plugins", "chat", "rooms", 1) == "22"
    assert line("plugins", "chat", "rooms", 1, "name") == "23"
    assert line("plugins", "chat", "rooms", 1, "limits", "size") == "25"


def test_what_stands_nowhere_is_placed_with_the_file(path: Path) -> None:
    path.write_text("")

    assert read_toml(path).place(("server", "port")) == str(path)


def test_a_syntax_error_has_its_line(path: Path) -> None:
    path.write_text("[server]\nport = \n")

    where, message = fault_of(path)

    assert where == f"{path}:2"
    assert message.startswith("Not valid TOML: ")


@pytest.mark.parametrize("text", ["[server]\nhost = '''\n\n", "[server]\nport = [1,", "a = "])
def test_a_text_that_breaks_off_is_a_syntax_error(path: Path, text: str) -> None:
    path.write_text(text)

    where, message = fault_of(path)

    assert where.startswith(f"{path}:")
    assert message.startswith("Not valid TOML: ")


def test_a_number_beyond_all_bounds_is_a_syntax_error(path: Path) -> None:
    path.write_text(f"x = {'9' * 5000}")

    assert fault_of(path).message.startswith("Not valid TOML: ")


def test_a_file_that_cannot_be_read_is_a_problem(path: Path, tmp_path: Path) -> None:
    assert fault_of(path) == (str(path), "The file cannot be read: No such file or directory")
    assert fault_of(tmp_path).message.startswith("The file cannot be read: ")


def test_a_file_that_is_not_utf_8_has_the_line(path: Path) -> None:
    path.write_bytes(b"[server]\n\nhost = '\xff'\n")

    assert fault_of(path) == (f"{path}:3", "The file is not UTF-8 text")
