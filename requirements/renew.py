"""Make the lock files anew from what setup.cfg asks for, and print what has changed.

Run by `make update`, with uv beside it; `renew.py asked NAME` prints what one purpose asks for.

There is one lock for each purpose. All have the same version of a package, so that several can be
installed into one environment; only `oldest.txt` has the oldest versions that setup.cfg allows.
Each names the hashes of all files of a version: so it holds for Linux and macOS on x86-64 and
arm64, with every Python that is supported.
"""

import configparser
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
#: Beside the interpreter that runs this: both are of the environment that `update.txt` describes.
UV: Final = Path(sys.executable).with_name("uv")

PLATFORMS: Final = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
)
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")

_PIN: Final = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.MULTILINE)
_COMPILE: Final = (
    *("pip", "compile", "--quiet", "--universal", "--python-version", PYTHONS[0]),
    *("--only-binary", ":all:", "--generate-hashes", "--no-header", "--no-annotate"),
)
_CHECK: Final = ("pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:")


def main() -> None:
    """Write all lock files."""
    before = {lock.stem: pins(lock.read_text("utf-8")) for lock in HERE.glob("*.txt")}
    wanted = purposes()
    everything = compile_lock(set().union(*wanted.values()))
    locks = {
        purpose: compile_lock(requirements, constraints=everything)
        for purpose, requirements in wanted.items()
    }
    locks["oldest"] = oldest(everything)
    for lock in (everything, locks["oldest"]):
        check_wheels(lock)
    for purpose, lock in locks.items():
        path = HERE / f"{purpose}.txt"
        if not path.exists() or path.read_text("utf-8") != lock:  # make looks at the time
            path.write_text(lock, "utf-8")
    sys.stdout.writelines(changes(before, {purpose: pins(lock) for purpose, lock in locks.items()}))


def purposes() -> dict[str, set[str]]:
    """What is asked for, by the name of the lock that answers it."""
    core = setup_cfg(ROOT)
    run = requirements_of(core["options"]["install_requires"])
    for plugin in ("chat", "demo-agent"):
        run |= plugin_requirements(plugin)
    extras = {name: requirements_of(text) for name, text in core["options.extras_require"].items()}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    return {
        "build": set(build),
        "run": run,
        "test": run | plugin_requirements("a2a") | extras.pop("test"),
        "docs": run | extras.pop("docs"),
        "bench": run | extras.pop("bench"),
        **extras,
    }


def oldest(newest: str) -> str:
    """Lock the oldest versions of what the distributions require, and the newest test tools."""
    core = setup_cfg(ROOT)
    tools = requirements_of(core["options.extras_require"]["test"])
    tested = requirements_of(core["options"]["install_requires"])
    for plugin in ("chat", "demo-agent", "a2a"):
        tested |= plugin_requirements(plugin)
    names = {name_of(requirement) for requirement in tools}
    pinned = {f"{name}=={version}" for name, version in pins(newest).items() if name in names}
    return compile_lock(tested | pinned, resolution="lowest-direct")


def setup_cfg(folder: Path) -> configparser.ConfigParser:
    """Read a distribution's setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(folder / "setup.cfg", "utf-8")
    return parser


def plugin_requirements(name: str) -> set[str]:
    """What a plugin requires, but Jackfield itself."""
    options = setup_cfg(ROOT / "plugins" / f"jackfield-{name}")["options"]
    return {
        requirement
        for requirement in requirements_of(options["install_requires"])
        if name_of(requirement) != "jackfield"
    }


def requirements_of(text: str) -> set[str]:
    """The requirements that a value of setup.cfg lists."""
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def name_of(requirement: str) -> str:
    """The name of what is required, as lock files write it."""
    name = re.split(r"[ \[<>=!~;]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """The versions in a lock, by name; several where that depends on the platform."""
    found: dict[str, list[str]] = {}
    for name, version in _PIN.findall(lock):
        found.setdefault(name, []).append(version)
    return {name: " or ".join(sorted(versions)) for name, versions in found.items()}


def compile_lock(
    requirements: Iterable[str], *, constraints: str = "", resolution: str = "highest"
) -> str:
    """Choose a version of all that is required, directly or not.

    Args:
        requirements: What is.
        constraints: A lock whose versions are to be taken.
        resolution: How uv chooses.

    Returns:
        The lock, in pip's requirements format.
    """
    options: list[str | Path] = ["--resolution", resolution]
    if resolution == "highest":
        options += ["--constraints", HERE / "constraints.in"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as chosen:
        chosen.write(constraints)
        chosen.flush()
        options += ["--constraints", chosen.name]
        return uv(*_COMPILE, *options, "-", given="\n".join(sorted(requirements)))


def check_wheels(lock: str) -> None:
    """Make sure that nothing has to be built anywhere, by tools that no lock names.

    What there is is known: uv has just looked.
    """
    for platform in PLATFORMS:
        for python in PYTHONS:
            options = ("--offline", "--python-platform", platform, "--python-version", python)
            uv(*_CHECK, *options, "-", given=lock)


def uv(*command: str | Path, given: str) -> str:
    """Run uv; it says itself what is wrong."""
    done = subprocess.run(
        [UV, *command], input=given, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout


def changes(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Say what has changed, each once, and in which locks.

    Args:
        before: The versions by name, by the name of the lock.
        after: The same.
    """
    found: dict[str, list[str]] = {}
    for lock in sorted({*before, *after}):
        old, new = before.get(lock, {}), after.get(lock, {})
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                change = f"{name} {old.get(name, '(new)')} -> {new.get(name, '(gone)')}"
                found.setdefault(change, []).append(lock)
    if not found:
        return ["Nothing has changed.\n"]
    return [f"{change}  ({', '.join(locks)})\n" for change, locks in sorted(found.items())]


if __name__ == "__main__":
    if sys.argv[1:2] == ["asked"]:
        print(*sorted(purposes()[sys.argv[2]]), sep="\n")
    else:
        main()
