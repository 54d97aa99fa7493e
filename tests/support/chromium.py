"""The system's Chromium for tests: found, never downloaded. Its headless shell draws the same with less work."""

import os
import shutil

import pytest

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def find_chromium() -> str:
    """Return the browser. Where it is missing: an error in CI, elsewhere a skip that says what to install."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            raise RuntimeError(reason)
        pytest.skip(reason)
    return found
