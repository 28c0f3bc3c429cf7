"""Pages of plugins, each at its path, and at ``/jackfield/`` the client that any page may load."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Final

from aiohttp import web

from jackfield.declaration.assets import Asset, read_assets
from jackfield.declaration.page import INDEX, Page
from jackfield.dispatch.plugin_entry import PluginEntry, PluginState
from jackfield.dispatch.registry import Registry
from jackfield.wire.errors import Error
from jackfield.wire.problem import problem

_CLIENT: Final = files("jackfield_client") / "src"


def page_routes(registry: Registry) -> list[web.RouteDef]:
    """The routes of all pages that the plugins have.

    Args:
        registry: The plugins; one that fails to start has no pages from then on.
    """
    routes = [web.get("/jackfield/{path:.+}", _files(read_assets(_CLIENT)))]
    for entry, plugin in registry.plugins():
        for page in plugin.pages:
            routes += _page(entry, page)
    return routes


def _page(entry: PluginEntry, page: Page) -> list[web.RouteDef]:
    serve = _files(page.files)

    async def front(request: web.Request) -> web.Response:
        """Lead to where the page's files name each other as they lie in its folder."""
        if entry.state is not PluginState.LOADED:
            return _nothing()
        query = request.rel_url.raw_query_string
        # Not from the root: in front of the server there may be more of a path.
        raise web.HTTPTemporaryRedirect(f"{page.path[1:]}/{'?' if query else ''}{query}")

    async def file(request: web.Request) -> web.Response:
        return await serve(request) if entry.state is PluginState.LOADED else _nothing()

    return [web.get(page.path, front), web.get(page.path + "/{path:.*}", file)]


def _files(assets: Mapping[str, Asset]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def file(request: web.Request) -> web.Response:
        asset = assets.get(request.match_info["path"] or INDEX)
        return _nothing() if asset is None else asset.respond(request)

    return file


def _nothing() -> web.Response:
    return problem(Error("not_found", "There is no such file."), 404)
