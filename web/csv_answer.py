"""Operations that answer as JSON, or as CSV where the caller likes that better."""

from typing import Final

from aiohttp import web

from web.api import Context
from web.downloads import attachment
from web.etag import etag_of, is_unchanged

CSV: Final = "text/csv"


def wants_csv(context: Context) -> bool:
    """Tell whether CSV is what the caller likes best (RFC 9110, 12.5.1); JSON if in doubt."""
    context.headers["Vary"] = "Accept"
    quality: dict[str, float] = {}
    for part in context.request.headers.get("Accept", "").split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), "1")
        try:
            quality[kind] = float(given)
        except ValueError:
            quality[kind] = 0.0
    others = [quality.get(kind, 0.0) for kind in ("application/json", "application/*", "*/*")]
    return quality.get(CSV, 0.0) > max(others)


def csv_answer(context: Context, text: str, name: str) -> web.Response:
    """Return CSV as a file of this name, or 304 without a body where the caller has it."""
    raw = text.encode()
    tag = etag_of(raw)
    context.headers["ETag"] = tag
    context.headers["Cache-Control"] = "private, no-cache"
    if is_unchanged(context.request.headers.get("If-None-Match"), tag):
        return web.Response(status=304)
    return web.Response(body=raw, content_type=CSV, charset="utf-8", headers=attachment(name))
