"""What the console's pages are called with, and what they stand in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from aiohttp import web

from core.clock import Clock
from vtn.api.desk import Desk
from vtn.services.passwords import PasswordCheck
from vtn.services.potential_forecast import Outlooks
from vtn.services.sessions import DEVICE_LIFETIME, Session
from web.attempts import FailureLimit, network_of
from web.auth import hash_token
from web.pages.forms import Form
from web.pages.page import PageRequest
from web.pages.shell import Cookies, Shell
from web.pages.shell import Session as AnySession


class ConsoleCookies(Cookies):
    """The console's cookies: those of any application, and by what a browser is known again."""

    def __init__(self, *, secure: bool) -> None:
        super().__init__(secure=secure)
        self.device = self.name("device")

    def set_device(self, answer: web.StreamResponse, token: str) -> None:
        """Let the browser be known again when its owner signs in."""
        self.set(answer, self.device, token, int(DEVICE_LIFETIME.total_seconds()))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Console(Shell):
    """One console.

    `utcnow` is machine time. `about` is what the server runs with, heading -> name -> text, for the settings page.
    """

    cookies: ConsoleCookies
    desk: Desk
    utcnow: Callable[[], datetime]
    about: Mapping[str, Mapping[str, str]]
    outlooks: Outlooks = field(default_factory=Outlooks)
    passwords: PasswordCheck = field(default_factory=PasswordCheck)
    limits: SignInLimits = field(default_factory=SignInLimits)


class ConsoleRequest(PageRequest):
    """One request of an operator."""

    shell: Console
    session: Session | None

    def __init__(self, http: web.Request, shell: Shell, session: AnySession | None, form: Form | None) -> None:
        if not isinstance(shell, Console) or not isinstance(session, Session | None):
            raise TypeError("These pages stand in a console.")
        super().__init__(http, shell, session, form)

    @property
    def console(self) -> Console:
        """Return the console that the page stands in."""
        return self.shell

    @property
    def desk(self) -> Desk:
        """Return the parts of the running VTN: `db`, `clock`, `settings`, ..."""
        return self.shell.desk

    @property
    def clock(self) -> Clock:
        """Return the world's clock."""
        return self.shell.clock

    @property
    def now(self) -> datetime:
        """Return the world's time."""
        return self.shell.now

    @property
    def zone(self) -> tzinfo:
        """Return the zone in which times are shown, but for pages that are about another."""
        return self.shell.zone
