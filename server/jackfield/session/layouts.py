"""`LayoutWatch`: tell in words if servers of another version share this Redis, and if they may."""

import structlog

from jackfield.store.layout import LAYOUT, Layout, OtherNode, OtherNodes

_log = structlog.get_logger("jackfield")


class LayoutError(RuntimeError):
    """Servers are running whose layout of Redis does not fit this one's; the message says which."""


class LayoutWatch:
    """Watches which layouts of Redis the other nodes have.

    Args:
        others: The other nodes.
        layout: This node's.
    """

    def __init__(self, others: OtherNodes, layout: Layout = LAYOUT) -> None:
        self._others = others
        self._layout = layout
        self._reported: set[Layout] = set()
        #: Why this node must not serve, in words; None if it may.
        self.conflict: str | None = None

    async def check(self) -> None:
        """Refuse to start beside nodes whose layout does not fit.

        Raises:
            LayoutError: There are some.
            Error: ``unavailable``: Redis is away.
        """
        await self.look()
        if self.conflict is not None:
            raise LayoutError(self.conflict)

    async def look(self) -> None:
        """Look who is there, and report each other layout once.

        Raises:
            Error: ``unavailable``: Redis is away.
        """
        conflict = None
        for node in await self._others.read():
            fits = self._layout.fits(node.layout)
            if not fits:
                conflict = self._words(node)
            if node.layout.version != self._layout.version and node.layout not in self._reported:
                self._reported.add(node.layout)
                self._report(node, fits=fits)
        self.conflict = conflict

    def _words(self, node: OtherNode) -> str:
        where = f"on {node.host} (Jackfield {node.version}, layout {node.layout.version})"
        if node.layout.version > self._layout.version:
            return (
                f"A newer server {where} shares this Redis, and this one's layout "
                f"{self._layout.version} does not fit: upgrade this server."
            )
        return (
            f"An older server {where} shares this Redis, and does not fit this one's layout "
            f"{self._layout.version}: stop all servers of that version before this one starts."
        )

    def _report(self, node: OtherNode, *, fits: bool) -> None:
        newer = node.layout.version > self._layout.version
        known = {
            "other": node.id,
            "host": node.host,
            "version": node.version,
            "layout": node.layout.version,
            "own_layout": self._layout.version,
        }
        if newer:
            remedy = "upgrade this server" if fits else self._words(node)
            _log.warning("a newer server shares this Redis", remedy=remedy, **known)
        else:
            remedy = "upgrade that server" if fits else self._words(node)
            _log.warning("an older server shares this Redis", remedy=remedy, **known)
