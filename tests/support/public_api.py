"""The public surface as text: every name that others may use, with its signature.

``python -m tests.support.public_api`` writes it into tests/public_api.txt, where a change of it is
seen in review. Which module defines a name is no part of it.
"""

import ast
import configparser
import dataclasses
import functools
import gc
import importlib
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from tests.support.paths import ROOT

LISTING: Final = ROOT / "tests" / "public_api.txt"

#: The public modules and their public names; None where the module lists them in ``__all__``.
_MODULES: Final[Mapping[str, tuple[str, ...] | None]] = {
    "jackfield": None,
    "jackfield.client": None,
    "jackfield.testing": ("RunningServer", "run_server"),
    # What an authenticator is, for annotations: it needs to inherit from nothing.
    "jackfield.auth": ("Authenticator", "Credentials", "Identity"),
}
#: Properties whose objects have a class that is documented, and that no module exports.
_HANDED_OUT: Final = (("jackfield", "Context", "state"), ("jackfield", "Context", "agents"))
#: Classes of which only Jackfield makes objects: their constructors are not public.
_MADE_BY_US: Final = {
    *("AgentAccess", "Client", "Context", "RunningServer", "Runtime", "State", "Subscription"),
    *("Task", "TopicFamily"),
    "Authenticator",  # a protocol: there are no objects of it
}
#: Classes that collect what is declared with their methods, for the server alone to read.
_DECLARATIONS: Final = {"Plugin", "TopicFamily"}
#: What says of itself that it is not public.
_NOT_PUBLIC: Final = {("RunningServer", "node")}
#: Special methods that are meant to be used, by ``async with``, ``async for`` and the like.
_SPECIAL: Final = {
    *("__aenter__", "__aexit__", "__enter__", "__exit__", "__aiter__", "__anext__", "__iter__"),
    *("__await__", "__call__", "__contains__", "__getitem__", "__len__"),
}

_COMMAND: Final = "jackfield.cli"
_QUALIFIER: Final = re.compile(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
_ENTRY_POINTS: Final = "options.entry_points"


def _parsed(source: str) -> ast.Module:
    # A callback of the collector that runs meanwhile, as hypothesis has one, makes Python 3.11 fail
    # with "AST constructor recursion depth mismatch" (python/cpython#106905).
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def listing() -> str:
    """Return the public surface, one line a name, as tests/public_api.txt has it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for module_name, names in _MODULES.items():
        module = importlib.import_module(module_name)
        yield f"# {module_name}"
        for name in sorted(names or module.__all__):
            yield ""
            yield from _definition(name, getattr(module, name))
        yield ""
    yield "# handed out"
    for module_name, class_name, name in _HANDED_OUT:
        cls = getattr(importlib.import_module(module_name), class_name)
        yield ""
        yield from _definition(f"{class_name}.{name}", _class_of(cls, name))
    yield ""
    yield "# entry points"
    yield ""
    yield from _entry_points()
    yield ""
    yield "# commands"
    yield ""
    yield from _commands("jackfield", importlib.import_module(_COMMAND).main)


def _definition(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        yield f"class {name}{_bases(value)}"
        for line in _members(value):
            yield f"    {line}"
    elif inspect.isfunction(value):
        yield from _function(name, value)
    else:
        yield f"{name} = {_annotation(value)}"


def _bases(cls: type) -> str:
    """Bases that mean something to others: foreign ones, and public ones."""
    found: list[type] = []
    for base in cls.__mro__[1:]:
        if base is object or any(issubclass(other, base) for other in found):
            continue
        if not _is_ours(base) or _is_public(base):
            found.append(base)
    return f"({', '.join(base.__name__ for base in found)})" if found else ""


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "jackfield"


def _is_public(cls: type) -> bool:
    return any(
        getattr(importlib.import_module(module), name) is cls
        for module, names in _MODULES.items()
        for name in names or importlib.import_module(module).__all__
    )


def _members(cls: type) -> Iterator[str]:
    """How an object is made, then what it has; both only as far as the class is ours."""
    own = [base for base in cls.__mro__ if _is_ours(base)]
    if cls.__name__ not in _MADE_BY_US and any(
        {"__init__", "__new__"} & vars(base).keys() for base in own
    ):
        signature = _resolved(cls).replace(return_annotation=inspect.Signature.empty)
        yield f"def __init__{_signature(signature)}"
    attributes = {} if cls.__name__ in _DECLARATIONS else _attributes(own)
    names = {name for base in own for name in vars(base)} | attributes.keys()
    for name in sorted(names):
        if (cls.__name__, name) in _NOT_PUBLIC or (name.startswith("_") and name not in _SPECIAL):
            continue
        value = inspect.getattr_static(cls, name, None)
        if name in attributes:
            yield f"{name}{attributes[name]}"
        elif inspect.isroutine(value) or cls.__name__ not in _DECLARATIONS:
            yield from _member(name, value)


def _attributes(classes: list[type]) -> dict[str, str]:
    """The attributes that classes declare, or set as an object is made; each with its type."""
    found: dict[str, str] = {}
    for cls in classes:
        for name, annotation in inspect.get_annotations(cls, **_names(cls)).items():
            found.setdefault(name, f": {_annotation(annotation)}")
        constructor = vars(cls).get("__init__")
        if inspect.isfunction(constructor) and not dataclasses.is_dataclass(cls):
            for name, annotation in _set_by(constructor):
                found.setdefault(name, annotation)
    return found


def _set_by(constructor: Callable[..., None]) -> Iterator[tuple[str, str]]:
    parameters = _resolved(constructor).parameters
    for node in ast.walk(_parsed(textwrap.dedent(inspect.getsource(constructor)))):
        match node:
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation):
                yield name, f": {_annotation(ast.unparse(annotation))}"
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Name(id=parameter)) if (
                parameter in parameters
            ):
                yield name, f": {_annotation(parameters[parameter].annotation)}"
            case ast.Assign(targets=[ast.Attribute(attr=name)]):
                yield name, ""


def _member(name: str, value: Any) -> Iterator[str]:
    match value:
        case property(fget=getter) | functools.cached_property(func=getter) if getter:
            setter = "" if getattr(value, "fset", None) is None else ", settable"
            yield f"{name}: {_returned(getter)}  (property{setter})"
        case staticmethod() | classmethod():
            yield f"@{type(value).__name__}"
            yield from _function(name, value.__func__)
        case _ if inspect.isfunction(value):
            yield from _function(name, value)


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    inner = inspect.unwrap(function)
    for variant in typing.get_overloads(inner) or [function]:
        if variant is not function:
            yield "@overload"
        if inner is not function and inspect.isasyncgenfunction(inner):
            yield "@asynccontextmanager"
        kind = "async def" if inspect.iscoroutinefunction(inner) else "def"
        yield f"{kind} {name}{_signature(_resolved(variant))}"


class _Text(str):
    """Text that a signature shows as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _signature(signature: inspect.Signature) -> str:
    """Return a signature as text, without the modules that the names in it come from."""
    empty = inspect.Signature.empty
    parameters = [
        parameter.replace(
            annotation=_shown(parameter.annotation, _annotation),
            default=_shown(parameter.default, _value),
        )
        for parameter in signature.parameters.values()
    ]
    returns = signature.return_annotation
    arrow = "" if returns is empty else f" -> {_annotation(returns)}"
    return f"{signature.replace(parameters=parameters, return_annotation=empty)}{arrow}"


def _shown(value: Any, render: Callable[[Any], str]) -> Any:
    return value if value is inspect.Parameter.empty else _Text(render(value))


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _unqualified(text.replace("'", "").replace('"', "").replace("~", ""))


def _value(value: Any) -> str:
    return _ADDRESS.sub("", repr(value) if isinstance(value, str) else _unqualified(repr(value)))


def _unqualified(text: str) -> str:
    return _QUALIFIER.sub("", text)


def _returned(getter: Callable[..., Any]) -> str:
    return _annotation(_resolved(getter).return_annotation)


def _class_of(cls: type, name: str) -> Any:
    getter = inspect.getattr_static(cls, name).fget
    return _resolved(getter).return_annotation


def _resolved(function: Callable[..., Any]) -> inspect.Signature:
    """A signature with types in the place of their names."""
    return inspect.signature(function, **_names(inspect.unwrap(function)))


def _names(definition: Any) -> dict[str, Any]:
    """What the names in a definition's annotations mean, those that only checkers import too."""
    module = sys.modules[definition.__module__]
    names = dict(vars(module))
    for statement in _parsed(inspect.getsource(module)).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(statement.body, []), module.__name__, "exec"), names)
    return {"globals": names, "eval_str": True}


def _entry_points() -> Iterator[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    for group, points in sorted(parser[_ENTRY_POINTS].items()):
        for point in sorted(points.split("\n")):
            if point:
                yield f"{group}: {point}"


def _commands(path: str, command: click.Command) -> Iterator[str]:
    yield path
    for parameter in command.params:
        yield f"    {_option(parameter)}"
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from _commands(f"{path} {name}", below)


def _option(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        names = parameter.human_readable_name
    else:
        names = ", ".join(parameter.opts)
        names += "".join(f" / {name}" for name in parameter.secondary_opts)
    words = [names]
    if not getattr(parameter, "is_flag", False):
        words.append(_type(parameter.type))
    words += [word for word in ("required", "multiple") if getattr(parameter, word, False)]
    if parameter.nargs != 1:
        words.append(f"nargs={parameter.nargs}")
    if parameter.envvar:
        words.append(f"envvar={parameter.envvar}")
    default = parameter.default
    if callable(default):
        words.append("default computed")
    elif default not in (None, False, ()) and "UNSET" not in repr(default):
        words.append(f"default={default!r}")
    return "  ".join(words)


def _type(kind: "click.ParamType[Any]") -> str:
    if isinstance(kind, click.Choice):
        return "|".join(map(str, kind.choices))
    text = repr(kind)
    return kind.name if " object at " in text else text.strip("<>")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else LISTING
    target.write_text(listing(), "utf-8")
