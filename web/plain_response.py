"""Answers outside of an application: OpenADR's, and those to what is no HTTP."""

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11


class PlainResponse(web.Response):
    """An answer that does not say which software gave it; aiohttp would name itself and Python, with their versions.

    To a post of HTTP/1.1 its head is written without what such an answer never has: cookies, chunks, compression on the
    way, hooks. Empty polls are most of what a VTN answers.
    """

    async def _start(self, request: web.BaseRequest) -> AbstractStreamWriter:
        body = self._body or b""
        if request.version != HttpVersion11 or request.method != hdrs.METH_POST or not isinstance(body, bytes):
            return await super()._start(request)
        self._req = request
        writer = self._payload_writer = request.writer
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        writer.length = len(body)
        headers = self._headers
        headers[hdrs.CONTENT_LENGTH] = str(writer.length)
        headers[hdrs.DATE] = rfc822_formatted_time()
        if not self._keep_alive:
            headers[hdrs.CONNECTION] = "close"
        await writer.write_headers(f"HTTP/1.1 {self._status} {self._reason}", headers)
        return writer

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self._headers.popall(hdrs.SERVER, None)
