"""Where the files of this repository are."""

from pathlib import Path
from typing import Final

#: The top of the checkout.
ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
#: The JavaScript client's package.
CLIENT: Final = ROOT / "client"
#: The plugin of rooms, for servers in processes of their own.
ROOMS: Final = ROOT / "tests/support/rooms.py"
