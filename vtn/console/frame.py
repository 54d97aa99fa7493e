"""What all pages stand in: templates, static files, navigation, cookies, limits."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final

from aiohttp import web
from jinja2 import Environment

from vtn.api.desk import Desk
from vtn.services.passwords import PasswordCheck
from vtn.services.potential_forecast import Outlooks
from vtn.services.sessions import DEVICE_LIFETIME
from vtn.transport.message_log import RecentMessages
from web.attempts import FailureLimit, network_of
from web.auth import Role, hash_token
from web.pages.assets import Assets
from web.pages.sse import Streams

_NOTICE_S: Final = 300


class Cookies:
    """The console's cookies: the session, by what a browser is known again, and what to say on the next page.

    With TLS their names carry `__Host-`: no other host and no plain connection can set them. Browsers refuse such
    names without TLS, so plain HTTP (loopback only) has plain names.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        prefix = "__Host-" if secure else ""
        self.session = f"{prefix}evenload-session"
        self.device = f"{prefix}evenload-device"
        self.notice = f"{prefix}evenload-notice"

    def set_session(self, answer: web.StreamResponse, token: str) -> None:
        """Give the browser its session, until it closes or the session ends."""
        self._set(answer, self.session, token)

    def set_device(self, answer: web.StreamResponse, token: str) -> None:
        """Let the browser be known again when its owner signs in."""
        self._set(answer, self.device, token, int(DEVICE_LIFETIME.total_seconds()))

    def drop_session(self, answer: web.StreamResponse) -> None:
        """Take the session away from the browser."""
        self._set(answer, self.session, "", 0)

    def set_notice(self, answer: web.StreamResponse, text: str) -> None:
        """Leave a note for the next page."""
        self._set(answer, self.notice, text, _NOTICE_S)

    def take_notice(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Take the note away, because it has been shown."""
        if self.notice in request.cookies:
            self._set(answer, self.notice, "", 0)

    def _set(self, answer: web.StreamResponse, name: str, value: str, max_age_s: int | None = None) -> None:
        answer.set_cookie(name, value, max_age=max_age_s, path="/", secure=self._secure, httponly=True, samesite="Lax")


@dataclass(frozen=True, slots=True)
class SignInLimits:
    """Who has to wait after failures: a name at an address, an address, at last a name; a browser of its own.

    A browser in which the same person signed in before has a limit of its own: what others do to the name or the
    address does not keep its owner out.
    """

    by_name_at_address: FailureLimit = field(default_factory=lambda: FailureLimit(10))
    by_address: FailureLimit = field(default_factory=lambda: FailureLimit(20))
    by_name: FailureLimit = field(default_factory=lambda: FailureLimit(100))
    by_device: FailureLimit = field(default_factory=lambda: FailureLimit(10))

    def of_stranger(self, name: str, address: str) -> list[tuple[FailureLimit, str]]:
        """Return the limits, each with its key, of an attempt from a browser that nobody knows."""
        place = network_of(address)
        return [(self.by_name_at_address, f"{place} {name}"), (self.by_address, place), (self.by_name, f"name {name}")]

    def of_known(self, token: str) -> list[tuple[FailureLimit, str]]:
        """Return the limits of an attempt from a known browser, or of a change by somebody who is signed in."""
        return [(self.by_device, hash_token(token))]


@dataclass(frozen=True, slots=True)
class NavEntry:
    """An entry of the navigation, shown to those who may open it. Lower ranks come first."""

    title: str
    path: str
    rank: int
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class Frame:
    """One console.

    `about` is what the server runs with, heading -> name -> text, for the settings page. `pages` says which addresses
    can be opened, and by whom. `recent` holds the last messages of VENs, if this process hears them.
    """

    desk: Desk
    env: Environment
    assets: Assets
    nav: tuple[NavEntry, ...]
    zone: tzinfo
    cookies: Cookies
    utcnow: Callable[[], datetime]
    about: Mapping[str, Mapping[str, str]]
    pages: Mapping[str, Role]
    panels: tuple[Callable[..., Awaitable[str]], ...]
    outlooks: Outlooks = field(default_factory=Outlooks)
    recent: RecentMessages | None = None
    streams: Streams = field(default_factory=Streams)
    passwords: PasswordCheck = field(default_factory=PasswordCheck)
    limits: SignInLimits = field(default_factory=SignInLimits)
