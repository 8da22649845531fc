"""What every home must do: the published laws, for the tests beside this file."""

from __future__ import annotations

from csrkit.collection.testing import CODES, MARKER, HomeLaws, random_page

__all__ = ["CODES", "MARKER", "HomeLaws", "random_page"]
