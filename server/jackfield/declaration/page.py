"""`Page`: what a plugin shows in a browser, as declared."""

import re
from importlib.resources.abc import Traversable
from typing import Final

from .assets import read_assets
from .checks import Checks

#: What a browser gets for the path itself.
INDEX: Final = "index.html"
#: The server's own paths, of those that a page could have.
OWN: Final = frozenset({"/api", "/console", "/healthz", "/jackfield", "/metrics", "/readyz", "/ws"})

_PATH: Final = re.compile(r"/[a-z][a-z0-9_-]*")


class Page:
    """The files of one page; made by `Plugin.page`.

    Attributes:
        path: Where it is seen.
        files: What is in its folder, by path from there.
    """

    def __init__(self, plugin: str, path: str, folder: Traversable) -> None:
        check = Checks(plugin)
        if not _PATH.fullmatch(str(path)):
            raise check.wrong(
                f"{path!r} can't be a page's path: write '/' and one word of lower-case letters, "
                "digits, '_' and '-', such as '/chat'"
            )
        if path in OWN:
            raise check.wrong(f"page {path!r} would stand where the server's own is: rename it")
        if not isinstance(folder, Traversable):
            raise check.wrong(
                f"the folder of page {path!r} must be a pathlib.Path or of importlib.resources, "
                f"not {folder!r}"
            )
        try:
            self.files = read_assets(folder)
        except OSError as exc:
            raise check.wrong(f"the folder of page {path!r} can't be read: {exc}") from None
        if INDEX not in self.files:
            raise check.wrong(f"the folder of page {path!r} has no {INDEX}: is it package data?")
        self.path = path

    def __str__(self) -> str:
        return f"page {self.path!r}"
