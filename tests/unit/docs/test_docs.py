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
from jackfield.declaration.candidates import Candidate
from jackfield.dispatch.registry import Registry
from jackfield.plugin.plugin import Plugin
from jackfield.wire.close_codes import CLOSE_CODES
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
    compile(block.text, block.place, "exec", flags=flags, dont_inherit=True)


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


@pytest.mark.parametrize("page", _pages(PAGES))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for target in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in DOCS.rglob("*.md"):
        assert f" {page.relative_to(DOCS)}\n" in navigation
