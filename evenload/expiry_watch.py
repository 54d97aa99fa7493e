"""Tells operators in time that a certificate ends: in the log, at /metrics, by e-mail and to a webhook."""

import asyncio
import json
import smtplib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from core.clock import machine_now
from core.errors import EvenloadError
from evenload.settings import EmailSettings, Settings
from vtn.services import expiry, pending
from vtn.store.database import Database
from web import http_client
from web.http_client import Guard

_log = structlog.get_logger(__name__)

_AGAIN: Final = timedelta(days=1)
_TIME_OUT_S: Final = 20.0
_VENS: Final = "VENs' certificates"


class ExpiryWatch:
    """Looks at certificates; call `turn` every few minutes. What still stands is told again every day."""

    def __init__(
        self,
        db: Database,
        watched: Mapping[str, Path],
        settings: Settings,
        registry: CollectorRegistry,
        now: Callable[[], datetime] = machine_now,
    ) -> None:
        self._db = db
        self._watched = watched
        self._vtn_id = settings.vtn_id
        self._settings = settings.alerts
        self._guard = Guard.allowing(settings.outgoing.allow, settings.outgoing.ca)
        self._now = now
        self._alerted_at: dict[str, datetime] = {}
        self._ends = Gauge(
            "evenload_certificate_expiry_timestamp_seconds",
            "When a certificate of the server or its authority ends, seconds since 1970.",
            ["certificate"],
            registry=registry,
        )
        self._vens = Gauge("evenload_vens_expiring", "VENs whose last certificate ends soon.", registry=registry)

    async def turn(self) -> None:
        """Look, and tell what is new or was last told a day ago."""
        await self._tell(await self.look(), self._now())

    async def look(self) -> dict[str, str]:
        """Set what /metrics says, and return what ends soon, in words."""
        now = self._now()
        before = now + self._settings.expires_within.timedelta()
        found = await asyncio.to_thread(expiry.ends, self._watched)
        for one in found:
            self._ends.labels(one.name).set(one.ends_at.timestamp() if one.ends_at is not None else 0.0)
        async with self._db.read() as conn:
            vens = (await pending.alerts(conn, expiring_before=before)).expiring_certificates
        self._vens.set(vens)
        texts = {one.name: one.text(now) for one in found if one.ends_at is None or one.ends_at < before}
        if vens:
            texts[_VENS] = f"VENs whose certificate ends before {before:%Y-%m-%d} and was not renewed: {vens}."
        return texts

    async def _tell(self, texts: Mapping[str, str], now: datetime) -> None:
        self._alerted_at = {name: when for name, when in self._alerted_at.items() if name in texts}
        due = {name: text for name, text in texts.items() if now - self._alerted_at.get(name, now - _AGAIN) >= _AGAIN}
        if not due:
            return
        for text in due.values():
            _log.warning("certificate ends soon", what=text)
        sent = [await self._try(send, due) for send in (self._mail, self._post)]
        if all(sent):
            self._alerted_at |= dict.fromkeys(due, now)

    async def _try(self, send: Callable[[Mapping[str, str]], Awaitable[None]], due: Mapping[str, str]) -> bool:
        """Tell whether it was sent; what was not is sent with the next turn."""
        try:
            await send(due)
        except (EvenloadError, OSError, smtplib.SMTPException, ValueError) as error:
            _log.error("operators could not be told", why=str(error)[:300])
            return False
        return True

    async def _mail(self, due: Mapping[str, str]) -> None:
        email = self._settings.email
        if email is None:
            return
        message = EmailMessage()
        message["Subject"] = f"{self._vtn_id}: certificates end soon"
        message["From"] = email.sender
        message["To"] = ", ".join(email.to)
        message.set_content("\n".join(due.values()) + "\n\nSee docs/how-to/certificates.md for what to do.\n")
        await asyncio.to_thread(send_mail, email, message)

    async def _post(self, due: Mapping[str, str]) -> None:
        if self._settings.webhook is None:
            return
        data = {"vtn_id": self._vtn_id, "alerts": list(due.values())}
        payload = {"type": "certificates.expiring", "timestamp": self._now().isoformat(), "data": data}
        body = json.dumps(payload, ensure_ascii=False).encode()
        answer = await http_client.post(self._settings.webhook, body, guard=self._guard, timeout_s=_TIME_OUT_S)
        if not 200 <= answer.status < 300:  # noqa: PLR2004
            raise ValueError(f"the webhook answered {answer.status}")


def send_mail(email: EmailSettings, message: EmailMessage) -> None:
    """Hand a message to the mail server. Raises OSError or SMTPException."""
    context = ssl.create_default_context()
    if email.tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(email.host, email.port, timeout=_TIME_OUT_S, context=context)
    else:
        server = smtplib.SMTP(email.host, email.port, timeout=_TIME_OUT_S)
    with server:
        if email.tls == "starttls":
            server.starttls(context=context)
        if email.user is not None:
            server.login(email.user, email.password or "")
        server.send_message(message)
