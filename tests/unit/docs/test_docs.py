"""The documentation tells the truth as far as a program can tell: examples, names, defaults."""

import ast
import configparser
import importlib.util
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from marshmallow import Schema, missing

import jackfield
from jackfield import client, testing
from jackfield.auth.jwt import JwtSchema
from jackfield.authoring.context import Context
from jackfield.authoring.runtime import Runtime
from jackfield.cli import main
from jackfield.config import SCHEMAS, load_settings
from jackfield.config.api_keys import API_SCOPES
from jackfield.declaration.candidates import Candidate, discover
from jackfield.dispatch.registry import Registry
from jackfield.plugin.plugin import Plugin
from jackfield.wire.close_codes import CLOSE_CODES, CloseCode
from jackfield.wire.errors import ERROR_CODES
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
AUTHORS_PAGES = sorted((DOCS / "plugins").glob("*.md"))

_FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)")
#: A key of the configuration as pages name it: `limits.topics`, `[auth] origins`.
_KEY = re.compile(r"`\[?(\w+)(?:\.|\] )(\w+)`")
#: What looks like one and isn't: a message type, and a library.
_NO_KEYS = {"auth.refresh", "redis.asyncio"}
#: The levels of the log that an operator reads.
_LEVELS = {"info", "warning", "error", "exception"}
_TABLE_ROW = re.compile(r"^\| `(\w+)` \| (`[^`]*`|unset) \|", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["language"], match["title"], match["text"])


def _all(*languages: str) -> list[Any]:
    found = [block for page in PAGES for block in _blocks(page) if block.language in languages]
    return [pytest.param(block, id=block.place) for block in found]


def _read(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def _pages(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


@pytest.mark.parametrize("page", _pages(PAGES))
def test_every_fence_is_one_that_these_tests_know(page: Path) -> None:
    fences = re.findall(r"^```.*$", page.read_text("utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(list(_blocks(page)))
    known = {"python", "toml", "json", "ini", "html", "js", "ts", "console", "text"}
    assert {block.language for block in _blocks(page)} <= known


@pytest.mark.parametrize("block", _all("python"))
def test_python_compiles(block: Block) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(block.text, block.place, "exec", flags=flags, dont_inherit=True)
    assert code.co_code


@pytest.mark.parametrize("page", _pages(AUTHORS_PAGES))
def test_a_page_for_authors_declares_plugins_that_load(page: Path, tmp_path: Path) -> None:
    """Each page is one module, written down bit by bit; one with titles has several files."""
    modules: dict[str, str] = {}
    for number, block in enumerate(_blocks(page)):
        if (block.title or "").startswith("static/"):
            path = tmp_path / str(block.title)
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.language == "python" and not (block.title or "").startswith("test_"):
            name = f"{page.stem}_{number}" if block.title else page.stem
            modules[name] = modules.get(name, "") + block.text
    assert modules
    for name, text in modules.items():
        _assert_loads(name.replace("-", "_"), text, tmp_path)


def test_the_readmes_plugin_loads(tmp_path: Path) -> None:
    text = "\n".join(
        block.text
        for block in _blocks(ROOT / "README.md")
        if block.language == "python" and "jackfield.client" not in block.text
    )
    assert "greeter.topic(" in text
    _assert_loads("readme_plugin", text, tmp_path)


def _assert_loads(name: str, text: str, directory: Path) -> None:
    path = directory / f"{name}.py"
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    (plugin,) = (value for value in vars(module).values() if isinstance(value, Plugin))
    settings = load_settings(None, {}, _configuration_of(plugin))
    candidate = Candidate(plugin.name, "documented", "1", lambda: plugin)
    registry = Registry([candidate], settings.plugins)
    assert [str(entry) for entry in registry.failed] == []
    assert plugin.handlers or plugin.server_middleware


def _configuration_of(plugin: Plugin) -> dict[str, Any]:
    """What the page says about the plugin's section of the configuration."""
    for block in (block for page in AUTHORS_PAGES for block in _blocks(page)):
        if block.language == "toml":
            document = tomllib.loads(block.text)
            if plugin.name in document.get("plugins", {}) and plugin.config_schema is not None:
                return {"plugins": {plugin.name: document["plugins"][plugin.name]}}
    return {}


@pytest.mark.parametrize("block", _all("toml"))
def test_toml_is_a_configuration_or_says_what_else_it_is(block: Block, tmp_path: Path) -> None:
    if block.title == "pyproject.toml" or "[build-system]" in block.text:
        assert tomllib.loads(block.text)
        return
    path = tmp_path / "jackfield.toml"
    path.write_text(block.text, "utf-8")
    load_settings(path, {"REDIS_PASSWORD": "correct horse battery staple"})


@pytest.mark.parametrize("block", _all("json"))
def test_json_parses(block: Block) -> None:
    broken = '{"type":'  # the example of what is not JSON
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        for line in block.text.splitlines():
            assert line == broken or json.loads(line)


@pytest.mark.parametrize("block", _all("ini"))
def test_ini_has_the_entry_point(block: Block) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    (group,) = parser["options.entry_points"].values()
    assert "=" in group


def test_every_error_code_is_explained() -> None:
    page = _read("guide/errors.md")
    for code, spec in ERROR_CODES.items():
        (row,) = re.findall(rf"^\| `{code}` \|.*\|$", page, re.MULTILINE)
        assert (" yes |" in row) is spec.retryable, row


def test_every_close_code_is_explained_in_the_words_of_the_table() -> None:
    page = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", _read("guide/errors.md"))  # without links
    rows = re.findall(r"^\| (\d{4}) \| (.*?) ?\| (\w+) \| (.*?) \| .*\|$", page, re.MULTILINE)
    assert rows == [
        (str(int(code)), spec.reason, spec.sender, spec.when) for code, spec in CLOSE_CODES.items()
    ]


def test_the_page_on_authentication_names_close_codes_by_their_reasons() -> None:
    _, _, section = _read("guide/authentication.md").partition("{#closes}")
    rows = re.findall(r"^\| (\d{4}) \| (.*?) \|", section, re.MULTILINE)
    assert rows
    for code, reason in rows:
        assert reason == CLOSE_CODES[CloseCode(int(code))].reason


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items(), ids=SCHEMAS)
def test_every_key_of_the_configuration_is_explained_with_its_default(
    name: str, schema: Schema
) -> None:
    _, _, section = _read("operations/configuration.md").partition(f"## `[{name}]`")
    table = dict(_TABLE_ROW.findall(section.partition("\n## ")[0]))
    assert set(table) == set(schema.fields)
    given = {key: value.strip("`") for key, value in table.items() if value != "unset"}
    values = tomllib.loads("\n".join(f"{key} = {value}" for key, value in given.items()))
    assert schema.load(values) == schema.load({})
    unset = {key for key, value in schema.load({}).items() if value is None}
    assert unset == set(table) - set(given)


def test_every_key_of_jwt_is_explained_with_its_default() -> None:
    _, _, section = _read("operations/configuration.md").partition("## `[auth.jwt]`")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section.partition("\n## ")[0], re.MULTILINE)
    fields = JwtSchema().fields
    assert set(dict(rows)) == set(fields)
    for name, told in rows:
        default = {"required": missing, "unset": None}.get(told, told)
        if isinstance(default, str):
            default = fields[name].deserialize(default.strip('`"'))
        assert fields[name].load_default == default
        assert fields[name].required is (told == "required")


@pytest.mark.parametrize("page", _pages(PAGES))
def test_a_page_names_keys_of_the_configuration_that_there_are(page: Path) -> None:
    for section, key in _KEY.findall(page.read_text("utf-8")):
        if section in SCHEMAS and f"{section}.{key}" not in _NO_KEYS:
            assert key in SCHEMAS[section].fields, f"{section}.{key}"


def test_the_page_on_limits_tells_of_limits_that_there_are() -> None:
    page = _read("operations/limits.md")
    known = set(SCHEMAS["limits"].fields)
    for heading in ("Connections", "Messages"):
        _, _, section = page.partition(f"\n## {heading}\n")
        first_column = re.findall(r"^\|([^|]*)\|", section.partition("\n## ")[0], re.MULTILINE)
        named = set(re.findall(r"(?<!\[)`(\w+)`", "".join(first_column)))
        assert named
        assert named <= known


def test_the_built_in_plugins_are_named() -> None:
    built_in = {each.name for each in discover() if each.distribution == "jackfield"}
    (sentence,) = re.findall(
        r"The built-in plugins are (.*?)\.$",
        _read("operations/configuration.md"),
        re.MULTILINE | re.DOTALL,
    )
    assert set(re.findall(r"`(\w+)`", sentence)) == built_in


def test_every_endpoint_of_the_server_api_is_explained() -> None:
    page = _read("operations/authentication.md")
    assert set(re.findall(r"^### `POST /api/v1/(\w+)`", page, re.MULTILINE)) == API_SCOPES


def test_every_line_of_the_log_is_explained_and_no_other() -> None:
    """But for those of the client, which are its own, and those that only help to debug."""
    written = {
        message
        for path in (ROOT / "server" / "jackfield").rglob("*.py")
        if path.relative_to(ROOT / "server" / "jackfield").parts[0] not in ("cli", "client")
        for message in _logged(ast.parse(path.read_text("utf-8")))
    }
    _, _, section = _read("operations/running.md").partition("\n## Logs")
    rows = re.findall(r"^\|(.*?)\|", section.partition("\n## ")[0], re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {_matching(message, explained) for message in written} == explained


def _logged(tree: ast.AST) -> Iterator[str]:
    """The messages that a module logs, at the levels that operators read."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=receiver, attr=level), args=[ast.Constant(value=str(text))]
            ) if level in _LEVELS and ast.unparse(receiver).endswith("log"):
                yield text


def _matching(message: str, explained: set[str]) -> str:
    """The line of the table that explains a message; `…` stands for the rest of it."""
    found = (name for name in explained if re.match(name.partition("…")[0], message))
    exact = message if message in explained else next(found, None)
    assert exact is not None, message
    return exact


@pytest.mark.parametrize("module", [jackfield, client, testing], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: Any) -> None:
    page = _read("reference/api.md")
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    assert names
    for name in names:
        assert re.search(rf"^::: {re.escape(module.__name__)}\.{name}$", page, re.MULTILINE), name


@pytest.mark.parametrize("subject", [Plugin, Context, Runtime], ids=lambda cls: cls.__name__)
def test_every_thing_an_author_can_do_is_explained(subject: type) -> None:
    text = "\n".join(page.read_text("utf-8") for page in AUTHORS_PAGES)
    public = {name for name, _ in inspect.getmembers_static(subject) if not name.startswith("_")}
    assert public
    for name in public:
        assert re.search(rf"\b\w+\.{name}\b", text), name


@pytest.mark.parametrize(("name", "cls"), [("ctx", Context), ("runtime", Runtime)])
def test_no_thing_is_explained_that_an_author_can_not_do(name: str, cls: type) -> None:
    for page in AUTHORS_PAGES:
        for used in re.findall(rf"\b{name}\.(\w+)", page.read_text("utf-8")):
            assert hasattr(cls, used), f"{page.name}: {name}.{used}"


def test_every_command_and_option_is_explained() -> None:
    page = _read("guide/command-line.md")
    for name, command in main.commands.items():
        _, heading, section = page.partition(f"## `jackfield {name}`")
        assert heading
        section = section.partition("\n## ")[0]
        below = command.commands.values() if isinstance(command, click.Group) else ()
        for parameter in (*command.params, *(each for one in below for each in one.params)):
            if isinstance(parameter, click.Option):
                for option in (*parameter.opts, *parameter.secondary_opts):
                    assert f"`{option}" in section, option


def test_no_option_is_explained_that_does_not_exist() -> None:
    page = _read("guide/command-line.md")
    for name, command in main.commands.items():
        _, _, section = page.partition(f"## `jackfield {name}`")
        below = command.commands.values() if isinstance(command, click.Group) else ()
        known = {
            option
            for parameter in (*command.params, *(each for one in below for each in one.params))
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        rows = re.findall(r"^\| (`-.*?) \|", section.partition("\n## ")[0], re.MULTILINE)
        explained = {option for row in rows for option in re.findall(r"`(-[\w-]+)", row)}
        assert explained <= known


@pytest.mark.parametrize("page", _pages(PAGES))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for target in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in DOCS.rglob("*.md"):
        assert f" {page.relative_to(DOCS)}\n" in navigation
