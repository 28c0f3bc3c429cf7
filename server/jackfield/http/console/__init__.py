"""The console: a page for trying out what this server has, at ``/`` and below ``/console/``.

The page is the same for everybody and holds nothing of anybody's: what it shows, the server tells
over the page's own WebSocket, to whoever its token says.
"""

from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

from jackfield.declaration.assets import read_assets
from jackfield.http.health import root
from jackfield.wire.errors import Error
from jackfield.wire.problem import problem

_PAGE: Final = "index.html"


def console_routes() -> list[web.RouteDef]:
    """The routes that the console is served by; its files are read here."""
    assets = read_assets(files(__name__) / "static")
    page = assets.pop(_PAGE)

    async def front(request: web.Request) -> web.Response:
        """The console for who opens the server in a browser; for programs, what this is."""
        wants_page = "text/html" in request.headers.get(hdrs.ACCEPT, "")
        response = page.respond(request) if wants_page else await root(request)
        response.headers[hdrs.VARY] = f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}"
        return response

    async def file(request: web.Request) -> web.Response:
        """What the page loads."""
        asset = assets.get(request.match_info["path"])
        if asset is None:
            return problem(Error("not_found", "The console has no such file."), 404)
        return asset.respond(request)

    return [web.get("/", front), web.get("/console/{path:.+}", file)]
