"""Pages and sections: how any room puts screens into an application of pages.

@page("GET", "/programmes/{programme_id}", role=Role.VIEWER)
async def programme(request: ConsoleRequest, programme_id: str) -> web.StreamResponse:
    async with request.desk.db.read() as conn:
        programme = await programmes.get(conn, programme_id)
    return request.render("programmes/programme.html", programme=programme)

SECTION = Section("market", pages=(board, accept), nav=(NavEntry("Market", "/market", rank=60),),
                  templates=HERE / "templates", static=HERE / "static")
"""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiMapping
from yarl import URL

from core.clock import WorldClock
from core.errors import NotFoundError
from web.auth import Principal, Role
from web.downloads import attachment
from web.pages.forms import CSRF_FIELD, Form, parse_form, read_form
from web.pages.shell import NavEntry, Session, Shell
from web.pages.templating import zone_name
from web.pages.translations import gettext as _
from web.pages.translations import spoken

Handler = Callable[..., Awaitable[web.StreamResponse]]
Tone = Literal["good", "warn", "bad"]
Service = TypeVar("Service")
Decorated = TypeVar("Decorated", bound=Handler)

_MARK: Final = "__console_page__"
_LONGEST_NOTICE: Final = 400
REFRESH_HEADER: Final = "X-Evenload-Refresh"
"""Sent by our own script that keeps a page fresh: such a request is no sign of a person at work."""


@dataclass(frozen=True, slots=True)
class Description:
    """Where a page is and who may see it; `role` None: everybody, also without signing in."""

    method: Literal["GET", "POST"]
    path: str
    role: Role | None


Panel = Callable[[Any], Awaitable[str]]
"""A part of the overview: returns a fragment (`request.fragment(...)`), empty where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Section:
    """The pages of one room. Templates and static files lie in directories; `name` is the folder of the static ones.

    Templates are found by name in all sections, so a section keeps its own in a folder of its own.
    """

    name: str
    pages: tuple[Handler, ...]
    nav: tuple[NavEntry, ...] = ()
    templates: Path | None = None
    static: Path | None = None
    globals: Mapping[str, Any] = field(default_factory=dict)
    """Further names and functions that its templates use."""
    words: Mapping[str, str] = field(default_factory=dict)
    """How pages say values of data (states, directions ...), marked by `N_`: filter `word`."""
    translations: Path | None = None
    """Catalogues of its texts: LOCALE/LC_MESSAGES/messages.mo."""
    panels: tuple[Panel, ...] = ()
    """What it adds to the overview."""


def page(method: Literal["GET", "POST"], path: str, *, role: Role | None) -> Callable[[Decorated], Decorated]:
    """Mark a handler as a page. It is called with the request and the parts of the path by name."""

    def mark(handler: Decorated) -> Decorated:
        setattr(handler, _MARK, Description(method, path, role))
        return handler

    return mark


def described(handler: Handler) -> Description:
    """Return what `page` noted. Raises TypeError for a function without it."""
    found = getattr(handler, _MARK, None)
    if not isinstance(found, Description):
        raise TypeError(f"{getattr(handler, '__qualname__', handler)} is not marked with @page.")
    return found


@dataclass(frozen=True, slots=True)
class Notice:
    """What to say on the next page: a line, and things shown this once (such as a code), label -> text."""

    text: str
    tone: Tone = "good"
    reveal: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """Return the notice as a cookie's value."""
        raw = json.dumps([self.text[:_LONGEST_NOTICE], self.tone, dict(self.reveal)], ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(raw).decode()

    @classmethod
    def decode(cls, cookie: str | None) -> "Notice | None":
        """Read a cookie; whatever is not one of ours is no notice."""
        try:
            text, tone, reveal = json.loads(base64.urlsafe_b64decode(cookie or ""))
            if tone not in ("good", "warn", "bad"):
                return None
            return cls(str(text), tone, {str(name): str(value) for name, value in reveal.items()})
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None


class PageRequest:
    """One request of one person: what they asked, who they are, and how to answer. `http` is aiohttp's."""

    def __init__(self, http: web.Request, shell: Shell, session: Session | None, form: Form | None) -> None:
        self.http = http
        self.shell = shell
        self.session = session
        self._form = form

    @property
    def principal(self) -> Principal:
        """Return who is signed in. Raises KeyError on a page that is open to everybody."""
        if self.session is None:
            raise KeyError("principal")
        return self.session.principal

    @property
    def who(self) -> str:
        """Return the name for the audit."""
        return self.principal.name

    def may(self, role: Role | str) -> bool:
        """Tell whether the person may do what needs this role. What they may not do is not shown to them."""
        return self.session is not None and self.session.principal.role.includes(Role(role))

    def service(self, key: web.AppKey[Service]) -> Service:
        """Return what the application holds under a key: how other rooms reach their own services."""
        found = self.http.config_dict.get(key)
        if found is None:
            raise NotFoundError(_("This server doesn't offer that."))
        return found

    def has(self, path: str) -> bool:
        """Tell whether a page is there (another room's, perhaps) and open to this person; `path` as in `@page`."""
        role = self.shell.pages.get(path)
        return role is not None and self.may(role)

    @property
    def query(self) -> MultiMapping[str]:
        """Return the parameters of the address."""
        return self.http.query

    @property
    def query_text(self) -> str:
        """Return the parameters of the address as text, to come back to the same list."""
        return self.http.rel_url.raw_query_string if self.http.method == "GET" else ""

    @property
    def is_refresh(self) -> bool:
        """Tell whether our own script asks, to keep an open page fresh."""
        return REFRESH_HEADER in self.http.headers

    async def form(self) -> Form:
        """Return the form that was sent; its origin and secret were checked before the page was called."""
        if self._form is None:
            self._form = await read_form(self.http)
        return self._form

    def filters(self) -> Form:
        """Return the parameters of the address as a form, for listings."""
        return parse_form(self.http.query_string)

    def url(self, path: str = "", **changes: object) -> str:
        """Return an address with parameters; without a path, the present one with changes (None takes one away)."""
        if path:
            given = {name: str(value) for name, value in changes.items() if value is not None}
            return f"{path}?{urlencode(given)}" if given else path
        now = [(name, value) for name, value in self.http.query.items() if name not in changes]
        now += [(name, str(value)) for name, value in changes.items() if value is not None]
        return f"{self.http.rel_url.raw_path}?{urlencode(now)}" if now else self.http.rel_url.raw_path

    def render(
        self,
        template: str,
        /,
        *,
        status: int | None = None,
        zone: tzinfo | None = None,
        form: Form | None = None,
        **values: Any,
    ) -> web.Response:
        """Answer with a page. Times are shown in `zone` (the application's own, unless the page is about another).

        A form that failed makes it a 422.
        """
        cookies, form = self.shell.cookies, form or Form()
        notice = None if self.is_refresh else Notice.decode(self.http.cookies.get(cookies.notice))
        text = self._rendered(template, zone, form, {"notice": notice, **values})
        answer = web.Response(text=text, content_type="text/html", status=status or (422 if form.failed else 200))
        answer.headers["Content-Language"] = spoken().tag
        answer.headers["Vary"] = "Accept-Language"
        if notice is not None:
            cookies.take_notice(self.http, answer)
        return answer

    def fragment(self, template: str, /, *, zone: tzinfo | None = None, **values: Any) -> str:
        """Return a piece of a page, for a live stream."""
        return self._rendered(template, zone, Form(), values)

    def _rendered(self, template: str, zone: tzinfo | None, form: Form, values: Mapping[str, Any]) -> str:
        """Return a rendered template with everything that the layout and the pieces need."""
        now, shown_in, clock = self.shell.now, zone or self.shell.zone, self.shell.clock
        offset = now.astimezone(shown_in).utcoffset()
        return self.shell.env.get_template(template).render(
            {
                "request": self,
                "now": now,
                "zone": shown_in,
                "zone_name": zone_name(shown_in, now),
                "speed": clock.speed if isinstance(clock, WorldClock) else 0.0,
                "offset_s": int(offset.total_seconds()) if offset else 0,
                "nav": self._entries(),
                "form": form,
                "blank_form": Form(),
                "csrf_name": CSRF_FIELD,
                "csrf": self.session.csrf if self.session else "",
                "application": self.shell.name,
                "language": spoken().tag,
                **values,
            }
        )

    def _entries(self) -> list[tuple[NavEntry, bool]]:
        """Return what this person may open, and whether it is where they are."""
        path = self.http.path
        shown = [entry for entry in self.shell.nav if self.may(entry.role)]
        within = [entry for entry in shown if path == entry.path or path.startswith(f"{entry.path}/")]
        here = max(within, key=lambda entry: len(entry.path), default=None)
        return [(entry, entry is here) for entry in shown]

    def redirect(
        self, path: str, notice: str | None = None, *, tone: Tone = "good", reveal: Mapping[str, str] | None = None
    ) -> web.Response:
        """Answer a form: go to a page of ours and say there what was done; `reveal` is shown there once."""
        answer = web.Response(status=303, headers={"Location": str(URL(path))})
        if notice is not None:
            self.shell.cookies.set_notice(answer, Notice(notice, tone, reveal or {}).encode())
        return answer

    def file(self, body: bytes | str | AsyncIterator[bytes], content_type: str, name: str) -> web.Response:
        """Answer with a file to keep; a large one may come in parts."""
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(body=raw, headers={"Content-Type": content_type} | attachment(name))
