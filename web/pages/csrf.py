"""Nobody else's page may send our forms: the browser says where a form came from, and each form knows a secret."""

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from core.errors import ForbiddenError

_FOREIGN = "This form did not come from a page of this console. Open the page here and send it again."
_OLD = "This form belongs to an earlier sign-in. Go back, reload the page, and send it again."


def check_origin(request: web.Request) -> None:
    """Raise ForbiddenError unless the browser says that the request comes from one of our own pages.

    Every current browser sends Origin with a form; one that sends neither Origin nor Referer is refused.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError(_FOREIGN)
    said = request.headers.get("Origin") or request.headers.get("Referer", "")
    try:
        origin = urlsplit(said)
    except ValueError:
        raise ForbiddenError(_FOREIGN) from None
    schemes = ("https",) if request.secure else ("http", "https")  # a proxy may end TLS before us
    if origin.scheme not in schemes or not origin.netloc or origin.netloc.lower() != request.host.lower():
        raise ForbiddenError(_FOREIGN)


def check_token(given: str, expected: str) -> None:
    """Raise ForbiddenError unless a form carries the secret of its session."""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise ForbiddenError(_OLD)
