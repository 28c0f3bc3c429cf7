"""Distributions that are installed only as far as a test goes: found by entry point like any."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

#: A plugin that declares one message type.
PLUGIN = """
    from marshmallow import Schema, fields
    from jackfield import Plugin

    class Payload(Schema):
        size = fields.Integer(required=True)

    {name} = Plugin("{name}")

    @{name}.handler("{name}.make", Payload, scopes=["maker"], timeout="5s")
    async def make(ctx, data):
        '''Make something.

        Whatever it is.
        '''
"""


def plugin(name: str, replaced: Mapping[str, str] | None = None) -> str:
    """The source of a plugin of that name, with some of its text replaced."""
    source = PLUGIN
    for old, new in (replaced or {}).items():
        source = source.replace(old, new)
    return source.format(name=name)


def install(directory: Path, name: str, source: str) -> None:
    """Put a distribution ``test-<name>`` with one plugin where ``directory`` is on the path.

    Args:
        directory: Where its files go.
        name: The name of the plugin, and of what the module ``plugin_<name>`` has it as.
        source: The module's source, indented or not.
    """
    (directory / f"plugin_{name}.py").write_text(dedent(source))
    info = directory / f"test_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: test-{name}\nVersion: 1.0\n")
    entry_point = f"[jackfield.plugins]\n{name} = plugin_{name}:{name}\n"
    (info / "entry_points.txt").write_text(entry_point)
