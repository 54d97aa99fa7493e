"""Static files: ours from the sections' directories, and the chart library out of an installed package.

Every address carries a hash, so browsers may keep the files for ever. Our own are small and live in memory, all under
one hash, so that a module of one section can import one of another (`../console/chart.js`). The chart library is one
file of 900 kB that a short-lived child process writes into the cache directory: the package that holds it costs 130 MB
once imported, and the server never imports it.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from core.errors import NotFoundError, UnavailableError
from web.pages.translations import gettext as _

_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER: Final = "public, max-age=31536000, immutable"
_PACKAGE: Final = "vl-convert-python"
_CHILD: Final = Path(__file__).with_name("drawing.py")
"""Run by its path: as a module it would import this whole package first."""
_CHILD_S: Final = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str


class Assets:
    """The static files of all sections. Raises TypeError for a file that is not CSS, JavaScript or SVG."""

    def __init__(self, directories: Mapping[str, Path], cache: Path) -> None:
        self._files = {
            f"{name}/{path.relative_to(directory).as_posix()}": _read(path)
            for name, directory in directories.items()
            for path in sorted(directory.rglob("*"))
            if path.is_file() and not path.name.startswith((".", "_"))
        }
        digest = hashlib.sha256()
        for name, file in sorted(self._files.items()):
            digest.update(f"{name}\0{len(file.body)}\0".encode())
            digest.update(file.body)
        self._hash = digest.hexdigest()[:16]
        self.library = ChartLibrary(cache)

    def url(self, name: str) -> str:
        """Return the address of a file such as `console/style.css`. Raises NotFoundError."""
        if name not in self._files:
            raise NotFoundError(f"No static file '{name}'.")
        return f"/static/{self._hash}/{name}"

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all static files; they need no sign-in."""
        return [
            web.get("/static/{hash:[0-9a-f]{16}}/{name:.+}", self._serve),
            web.get(self.library.url, self._serve_library),
        ]

    async def _serve(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None or request.match_info["hash"] != self._hash:
            raise NotFoundError(_("This file no longer exists. Reload the page."))
        headers = {"Content-Type": file.content_type, "Cache-Control": _FOREVER}
        return web.Response(body=file.body, headers=headers)

    async def _serve_library(self, _request: web.Request) -> web.FileResponse:
        path = await self.library.ready()
        return web.FileResponse(path, headers={"Cache-Control": _FOREVER, "Content-Type": _TYPES[".js"]})


def _read(path: Path) -> _File:
    if path.suffix not in _TYPES:
        raise TypeError(f"{path.name}: static files are CSS, JavaScript or SVG.")
    return _File(path.read_bytes(), _TYPES[path.suffix])


class ChartLibrary:
    """The bundle of Vega, Vega-Lite and vega-embed, and pictures drawn with them; all of it in child processes."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        try:
            self._version: str | None = version(_PACKAGE)
        except PackageNotFoundError:
            self._version = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_installed(self) -> bool:
        """Tell whether charts can be drawn at all; without the package, pages show their tables."""
        return self._version is not None

    @property
    def url(self) -> str:
        """Return the address of the bundle: its hash is that of the package's version, which decides the content."""
        stamp = hashlib.sha256(f"{_PACKAGE} {self._version} {sys.version_info[:2]}".encode()).hexdigest()[:16]
        return f"/static/vega-{stamp}.js"

    async def ready(self) -> Path:
        """Return the bundle's file, written now if it is not there. Raises UnavailableError."""
        path = self._cache / self.url.rpartition("/")[2]
        async with self._one_at_a_time:
            if not path.exists():
                await self._write(path)
        return path

    async def _write(self, path: Path) -> None:
        try:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"The cache directory cannot be made: {error.strerror}.") from error
        body = await self._child("bundle", b"")
        part = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            await asyncio.to_thread(part.write_bytes, body)
            part.replace(path)
        except OSError as error:
            raise UnavailableError(f"The chart library cannot be kept: {error.strerror}.") from error
        _log.info("chart library written", bytes=len(body))

    async def draw(self, specification: bytes, form: str) -> bytes:
        """Return a Vega-Lite specification as a picture, `svg` or `png`. Raises UnavailableError."""
        async with self._one_at_a_time:
            return await self._child(form, specification)

    async def _child(self, task: str, sent: bytes) -> bytes:
        if not self.is_installed:
            raise UnavailableError(f"Charts need {_PACKAGE}; install it with: pip install 'evenload[server]'")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_CHILD),
            task,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_CHILD_S):
                body, said = await child.communicate(sent)
        except TimeoutError:
            raise UnavailableError("Drawing took too long.") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            _log.error("drawing failed", task=task, said=said.decode(errors="replace")[-500:])
            raise UnavailableError("The chart could not be drawn; the server's log says why.")
        return body
