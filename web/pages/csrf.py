"""Nobody else's page may send our forms: the browser says where a form came from, and each form knows a secret."""

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from core.errors import ForbiddenError
from web.pages.translations import N_
from web.pages.translations import gettext as _

_FOREIGN = N_("This form did not come from one of our pages. Open the page here and send the form again.")
_OLD = N_("This form belongs to an earlier session. Go back, reload the page and send the form again.")


def check_origin(request: web.Request) -> None:
    """Raise ForbiddenError unless the browser says that the request comes from one of our own pages.

    Every current browser sends Origin with a form; one that sends neither Origin nor Referer is refused.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError(_(_FOREIGN))
    said = request.headers.get("Origin") or request.headers.get("Referer", "")
    try:
        origin = urlsplit(said)
    except ValueError:
        raise ForbiddenError(_(_FOREIGN)) from None
    schemes = ("https",) if request.secure else ("http", "https")  # a proxy may end TLS before us
    if origin.scheme not in schemes or not origin.netloc or origin.netloc.lower() != request.host.lower():
        raise ForbiddenError(_(_FOREIGN))


def check_token(given: str, expected: str) -> None:
    """Raise ForbiddenError unless a form carries the secret of its session."""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise ForbiddenError(_(_OLD))
