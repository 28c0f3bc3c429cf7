"""Check types as a third party meets them: against the built wheel, not against the sources.

Run by `make lint`; exits with mypy's status.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Install the wheel into an environment of its own, and check the demo plugin there."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        venv.create(python.parents[1])
        own = ("--no-index", "--no-deps", "--no-build-isolation")
        lock = ("--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements/run.txt")
        pip("wheel", *own, "--wheel-dir", folder, ROOT)
        pip("--python", python, "install", *lock)
        pip("--python", python, "install", *own[:2], *Path(folder).glob("*.whl"))
        chat = ROOT / "plugins" / "jackfield-chat" / "jackfield_chat"
        options: list[str | Path] = ["--strict", "--config-file", "", "--cache-dir", os.devnull]
        options += ["--python-executable", python]
        return subprocess.run(
            [sys.executable, "-m", "mypy", *options, chat], cwd=folder, check=False
        ).returncode


def pip(*command: str | Path) -> None:
    """Run this environment's pip, whose build tools are locked."""
    options = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", *options, *command], check=True)


if __name__ == "__main__":
    sys.exit(main())
