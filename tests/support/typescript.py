"""The TypeScript compiler for tests: the one that the JavaScript client is developed with."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.node import TSC, node_environment

#: The least that the compiler wants to know, and two interfaces to add to: it reads them at once.
WORLD: Final = """
interface Array<T> { length: number; [index: number]: T }
interface Boolean {}
interface CallableFunction {}
interface Function {}
interface IArguments {}
interface NewableFunction {}
interface Number {}
interface Object {}
interface RegExp {}
interface String {}
declare module "jackfield" {
  interface Requests {}
  interface Topics {}
}
"""

_OPTIONS: Final[Mapping[str, Any]] = {
    "strict": True,
    "noEmit": True,
    "target": "ES2022",
    "module": "NodeNext",
    "types": [],
}


def compile_all(directory: Path, files: Mapping[str, str], **options: Any) -> list[str]:
    """Compile files by themselves, as a project.

    Args:
        directory: Where they go.
        files: Their texts by their names.
        **options: Of the compiler, beside those for a strict check of modules.

    Returns:
        What the compiler says, one thing a line; nothing if all is well.
    """
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")
    project = {"compilerOptions": {**_OPTIONS, **options}, "files": list(files)}
    (directory / "tsconfig.json").write_text(json.dumps(project))
    (directory / "package.json").write_text('{"type": "module"}')
    return run_tsc("--project", ".", cwd=directory)


def compile_alone(directory: Path, text: str, **others: str) -> list[str]:
    """Compile what ``jackfield types`` writes, where there is nothing else to know.

    Args:
        directory: Where it goes.
        text: What was written.
        **others: Texts of other modules, by their names.

    Returns:
        As `compile_all`.
    """
    modules = {f"{name}.ts": source for name, source in others.items()}
    files = {"world.d.ts": WORLD, "messages.ts": text, **modules}
    return compile_all(directory, files, noLib=True)


def run_tsc(*arguments: str, cwd: Path) -> list[str]:
    """What the compiler says, one thing a line."""
    done = subprocess.run(
        [TSC, "--pretty", "false", *arguments],
        cwd=cwd,
        env=node_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    said = done.stdout.splitlines()
    assert bool(said) == bool(done.returncode), said
    return said
