"""Serve the pages of plugins, and under ``/jackfield/`` the JavaScript client for any page."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Final

from aiohttp import web

from jackfield.declaration.assets import Asset, read_assets
from jackfield.declaration.page import INDEX, Page
from jackfield.dispatch.plugin_entry import PluginEntry
from jackfield.dispatch.registry import Registry
from jackfield.wire.errors import Error
from jackfield.wire.problem import problem

_CLIENT: Final = files("jackfield_client") / "src"


def page_routes(registry: Registry) -> list[web.RouteDef]:
    """Return the HTTP routes of all plugins' pages, and of the JavaScript client.

    Args:
        registry: The plugins; the pages of one that fails to start are not found from then on.
    """
    routes = [web.get("/jackfield/{path:.+}", _files(read_assets(_CLIENT)))]
    for entry, plugin in registry.plugins():
        for page in plugin.pages:
            routes += _page(entry, page)
    return routes


def _page(entry: PluginEntry, page: Page) -> list[web.RouteDef]:
    serve = _files(page.files)

    async def front(request: web.Request) -> web.Response:
        """Redirect to the path with a slash, from which relative links lead to the page's files."""
        if not entry.is_running:
            return _not_found()
        query = request.rel_url.raw_query_string
        # A relative target: a proxy may serve this under a longer path.
        raise web.HTTPTemporaryRedirect(f"{page.path[1:]}/{'?' if query else ''}{query}")

    async def file(request: web.Request) -> web.Response:
        return await serve(request) if entry.is_running else _not_found()

    return [web.get(page.path, front), web.get(page.path + "/{path:.*}", file)]


def _files(assets: Mapping[str, Asset]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def file(request: web.Request) -> web.Response:
        asset = assets.get(request.match_info["path"] or INDEX)
        return _not_found() if asset is None else asset.respond(request)

    return file


def _not_found() -> web.Response:
    return problem(Error("not_found", "There is no such file."), 404)
