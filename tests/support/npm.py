"""Packages for Node.js that tests bring themselves, at their pinned versions."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def install(directory: Path, *packages: str) -> None:
    """Install packages into a directory, without their scripts; skips, or on a build server fails, without npm."""
    if shutil.which("npm") is None:
        hint = f"{', '.join(packages)}: Node.js and npm are missing; install them with your package manager."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(hint)
    (directory / "package.json").write_text('{"private": true, "type": "module"}')
    words = ("npm", "install", "--silent", "--no-fund", "--no-audit", "--ignore-scripts", *packages)
    subprocess.run(words, cwd=directory, check=True, timeout=300)
