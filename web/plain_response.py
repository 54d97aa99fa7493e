"""Answers outside of an application: OpenADR's, and those to what is no HTTP."""

from aiohttp import hdrs, web


class PlainResponse(web.Response):
    """An answer that does not say which software gave it; aiohttp would name itself and Python, with their versions."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)
