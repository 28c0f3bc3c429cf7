"""Conflicts: of plugins that declare the same, all but the built-in ones are left out."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from .plugin_entry import PluginEntry, PluginState, Stage

#: The distribution whose plugins win every conflict: clients rely on the built-in types.
_OWN_DISTRIBUTION: Final = "jackfield"

#: What to do about a conflict. Plugins of one name can't be told apart under [plugins].
_CURES: Final = {
    "name": "uninstall one",
    "message type": "rename one, or name one plugin under [plugins] disabled",
    "page": "move one, or name one plugin under [plugins] disabled",
    "topic": "rename one, or name one plugin under [plugins] disabled",
}


def _leave_out(entry: PluginEntry, conflict: str, others: list[str], cure: str) -> None:
    """Leave a plugin out if it is in conflict with others, unless it is built-in."""
    if not others or entry.candidate.distribution == _OWN_DISTRIBUTION:
        return
    if entry.state is not PluginState.FAILED:  # a first reason is kept
        entry.fail(Stage.REGISTER, f"{conflict} {' and '.join(others)}: {cure}")


def refuse_conflicts(all_entries: Sequence[PluginEntry]) -> None:
    """Leave out all plugins that share a name, message type, page or topic: none has precedence."""
    running = [(entry, entry.plugin) for entry in all_entries if entry.is_running and entry.plugin]
    claims: defaultdict[tuple[str, str], list[PluginEntry]] = defaultdict(list)
    for entry in all_entries:
        if entry.state is not PluginState.DISABLED:
            claims["name", entry.name].append(entry)
    for entry, plugin in running:
        for message_type in plugin.handlers:
            claims["message type", message_type].append(entry)
        for page in plugin.pages:
            claims["page", page.path].append(entry)
    families = [(entry, family) for entry, plugin in running for family in plugin.topics]
    for (what, value), entries in claims.items():
        for entry in entries:
            others = [other.label for other in entries if other is not entry]
            _leave_out(entry, f"the {what} {value!r} is also declared by", others, _CURES[what])
    for entry, family in families:
        others = [
            f"{str(rival.pattern)!r} of {other.label}"
            for other, rival in families
            if other is not entry and rival.pattern.overlaps(family.pattern)
        ]
        _leave_out(entry, f"{family} overlaps", others, _CURES["topic"])
