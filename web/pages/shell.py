"""What all pages of one application stand in: templates, static files, navigation, who is signed in, the clock."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Final, Protocol

from aiohttp import web
from jinja2 import Environment

from core.clock import Clock
from web.auth import Principal, Role
from web.pages.assets import Assets
from web.pages.sse import Streams
from web.pages.translations import Languages

_NOTICE_S: Final = 300


class Session(Protocol):
    """Somebody who is signed in. `csrf` is in every form; `handle` names the session without being a key to it."""

    @property
    def principal(self) -> Principal:
        """Who it is."""

    @property
    def csrf(self) -> str:
        """The secret of forms."""

    @property
    def handle(self) -> str:
        """The name by which people see it."""


class Sessions(Protocol):
    """Where sessions are kept."""

    async def find(self, token: str, *, at_work: bool) -> Session | None:
        """Return the session of a cookie, None if it is over. `at_work`: a person asks, and it lives on."""

    async def works(self, session: Session) -> bool:
        """Tell whether a session is not over yet."""


class Cookies:
    """The cookies of an application: the session, and what to say on the next page.

    With TLS their names carry `__Host-`: no other host and no plain connection can set them. Browsers refuse such
    names without TLS, so plain HTTP (loopback only) has plain names.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self.session = self.name("session")
        self.notice = self.name("notice")

    def name(self, word: str) -> str:
        """Return the name of one of our cookies."""
        return f"{'__Host-' if self._secure else ''}evenload-{word}"

    def set_session(self, answer: web.StreamResponse, token: str) -> None:
        """Give the browser its session, until it closes or the session ends."""
        self.set(answer, self.session, token)

    def drop_session(self, answer: web.StreamResponse) -> None:
        """Take the session away from the browser."""
        self.set(answer, self.session, "", 0)

    def set_notice(self, answer: web.StreamResponse, text: str) -> None:
        """Leave a note for the next page."""
        self.set(answer, self.notice, text, _NOTICE_S)

    def take_notice(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Take the note away, because it has been shown."""
        if self.notice in request.cookies:
            self.set(answer, self.notice, "", 0)

    def set(self, answer: web.StreamResponse, name: str, value: str, max_age_s: int | None = None) -> None:
        """Set a cookie that only this host and no script reads."""
        answer.set_cookie(name, value, max_age=max_age_s, path="/", secure=self._secure, httponly=True, samesite="Lax")


@dataclass(frozen=True, slots=True)
class NavEntry:
    """An entry of the navigation, shown to those who may open it. Lower ranks come first."""

    title: str
    """Marked by `N_`."""
    path: str
    rank: int
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """One application of pages.

    `name` stands in the head of every page. Times are shown in `zone` unless a page says otherwise. `pages` says which
    addresses can be opened, and by whom. `metrics` is the word that its requests are counted under.
    """

    name: str
    metrics: str
    clock: Clock
    zone: tzinfo
    sessions: Sessions
    cookies: Cookies
    env: Environment
    assets: Assets
    nav: tuple[NavEntry, ...]
    pages: Mapping[str, Role]
    panels: tuple[Callable[[Any], Awaitable[str]], ...]
    languages: Languages = field(default_factory=Languages)
    streams: Streams = field(default_factory=Streams)

    @property
    def now(self) -> datetime:
        """Return the world's time."""
        return self.clock.now()
