"""Somebody who looks at pages: in light and dark, on a desk and on a phone."""

from dataclasses import dataclass

import pytest
from playwright.async_api import Page

from tests.browser.chromium import axe
from tests.browser.conftest import Photograph

#: CSS pixels: a desk's window and a small phone's.
WIDTHS = pytest.mark.parametrize("width", [1280, 360])


@dataclass
class Eyes:
    """Somebody who looks at a panel in one state after the other.

    Attributes:
        page: What is looked at.
        name: What the photographs are called, before the state.
        photograph: What takes them.
    """

    page: Page
    name: str
    photograph: Photograph

    async def look(self, state: str) -> None:
        """Find nothing wrong with what there is to see now, in either theme.

        Args:
            state: What the photographs are called.
        """
        # Colours that are on their way from one to the other have no contrast of their own.
        await self.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert await axe(self.page, "color-contrast") == [], f"{state}, dark"
        await self.photograph(self.page, f"{self.name}-{state}-dark")
        await self.page.emulate_media(color_scheme="light")
        assert await axe(self.page) == [], state
        await self.photograph(self.page, f"{self.name}-{state}")
        # Sideways there is nothing to scroll for, whatever the page shows.
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await self.page.evaluate(wide) == 0, state
