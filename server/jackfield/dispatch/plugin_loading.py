"""Load one plugin: import it, check its declaration, load its configuration; contain its faults."""

from jackfield.config import ConfigError, Section
from jackfield.plugin.plugin import Plugin
from jackfield.schema.validation import resolve_nested
from jackfield.wire.errors import RegistrationError

from .plugin_entry import PluginEntry, Stage


def load_plugin(entry: PluginEntry, section: Section) -> None:
    """Import a plugin, check its declaration and load its configuration; contain its faults.

    Args:
        entry: The plugin; it gets the declaration, or is marked as failed.
        section: Its section of the configuration.
    """
    try:
        loaded = entry.candidate.load()
    except RegistrationError as exc:
        entry.fail(Stage.REGISTER, str(exc))
        return
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a module may fail in any way
        entry.fail(Stage.IMPORT, f"it can't be imported: {type(exc).__name__}: {exc}")
        return
    if not isinstance(loaded, Plugin):
        entry.fail(
            Stage.REGISTER,
            f"its entry point must name a Plugin, not {type(loaded).__name__}: write "
            f"'{entry.name} = module:plugin'",
        )
    elif loaded.name != entry.name:
        entry.fail(
            Stage.REGISTER,
            f"its entry point is named {entry.name!r} and its Plugin {loaded.name!r}: give "
            "both one name",
        )
    else:
        entry.plugin = loaded
        _check_schemas(entry, loaded)
        if entry.is_running:
            _configure(entry, loaded, section)


def _configure(entry: PluginEntry, plugin: Plugin, section: Section) -> None:
    try:
        entry.config = section.load(plugin.config_schema)
    except ConfigError as exc:
        entry.problems = exc.problems
        entry.fail(Stage.CONFIGURE, "; ".join(str(problem) for problem in exc.problems))
    except Exception as exc:  # noqa: BLE001 - a schema's own code may raise anything
        entry.fail(
            Stage.CONFIGURE, f"its configuration failed to load: {type(exc).__name__}: {exc}"
        )


def _check_schemas(entry: PluginEntry, plugin: Plugin) -> None:
    """Leave out a plugin with a schema that nests a missing one: at a message it is too late."""
    handlers = plugin.handlers.values()
    schemas = [
        *((f"a schema of {handler.type!r}", handler.schema) for handler in handlers),
        *((f"a schema of {handler.type!r}", handler.reply) for handler in handlers),
        *((f"the event of {family}", family.event) for family in plugin.topics),
    ]
    for what, schema in schemas:
        try:
            if schema is not None:
                resolve_nested(schema)
        except Exception as exc:  # noqa: BLE001 - a nested schema may be a plugin's function
            entry.fail(Stage.REGISTER, f"{what} nests one that can't be had: {exc}")
