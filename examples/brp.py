"""A small client of the BRP API: ask for flexibility, accept the offer, watch it, read the report.

It needs Python 3.11 and aiohttp, and nothing else of this project:

    export BRP_URL=https://vtn.example:8444 BRP_CLIENT_ID=cli_... BRP_SECRET=evs_... BRP_CA=ca.pem
    python brp.py reduce 20000 2026-01-31T17:00:00Z 3600

`verify` is for the other side: it checks the signature of a webhook.
"""
# ruff: noqa: INP001, T201  a script that stands alone and talks to people

import asyncio
import base64
import hashlib
import hmac
import os
import ssl
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import aiohttp


class ApiError(Exception):
    """What the API refused: a problem document (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        faults = "; ".join(f"{one.get('pointer', '')} {one['detail']}" for one in problem.get("errors") or [])
        super().__init__(f"{status}: {problem.get('detail', '')} {faults}".strip())
        self.status = status
        self.kind = problem.get("type", "")


class Brp:
    """Talks to the API: gets tokens by itself, and sends every POST with an Idempotency-Key."""

    def __init__(self, url: str, client_id: str, secret: str, ca: str | None = None) -> None:
        self._base = url.rstrip("/") + "/brp/v1"
        self._own = {"client_id": client_id, "client_secret": secret}
        self._tls = ssl.create_default_context(cafile=ca)
        self._token, self._until = "", 0.0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str, **query: str) -> Any:
        """Return what is at a path such as `/me`."""
        return await self._send("GET", path, params=query)

    async def post(self, path: str, body: Any = None) -> Any:
        """Send a body. Where the connection breaks off it is sent again: the key makes sure that it is done once."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        more = {} if body is None else {"json": body}
        for attempt in range(4):
            try:
                return await self._send("POST", path, headers=headers, **more)
            except (aiohttp.ClientConnectionError, TimeoutError):
                if attempt == 3:  # noqa: PLR2004  the last try
                    raise
                await asyncio.sleep(2**attempt)
        raise AssertionError

    async def until(self, path: str, *ends: str, every_s: float = 1.0) -> Any:
        """Return what is at a path once its status is one of `ends`."""
        while True:
            found = await self.get(path)
            if found["status"] in ends:
                return found
            await asyncio.sleep(every_s)

    async def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        while True:
            sent = {"Authorization": f"Bearer {await self._fresh_token()}", **(headers or {})}
            async with self._http.request(method, self._base + path, headers=sent, **more) as answer:
                if answer.status == 429:  # noqa: PLR2004  too many requests: wait as long as we are told
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
                    continue
                value = await answer.json(content_type=None)
                if answer.status >= 400:  # noqa: PLR2004
                    raise ApiError(answer.status, value)
                return value

    async def _fresh_token(self) -> str:
        if time.monotonic() >= self._until:
            form = {"grant_type": "client_credentials", **self._own}
            async with self._http.post(self._base + "/token", data=form) as answer:
                told = await answer.json()
                if answer.status != 200:  # noqa: PLR2004
                    raise ApiError(answer.status, {"detail": told.get("error_description")})
            self._token, self._until = told["access_token"], time.monotonic() + told["expires_in"] - 60
        return self._token


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, tolerance_s: float = 300) -> bool:
    """Tell whether a webhook's message is genuine and fresh. `body` is what came, byte for byte."""
    name, sent_at = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - float(sent_at)) > tolerance_s:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{name}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(mac).decode()
    return any(hmac.compare_digest(wanted, one) for one in headers["webhook-signature"].split(" "))


async def buy(brp: Brp, direction: str, power_w: int, start: datetime, duration_s: int) -> Any:
    """Ask for power, accept what is offered, follow it, and return the report."""
    me = await brp.get("/me")
    print(f"We are {me['name']}; the aggregator's time is {me['now']}.")
    interval = {"start": start.isoformat(), "duration_s": duration_s, "min_w": power_w // 2, "max_w": power_w}
    body = {
        "contract_id": me["contracts"][0]["id"],
        "direction": direction,
        "intervals": [interval],
        "deadline": start.isoformat(),
    }
    request = await brp.post("/flexibility-requests", body)
    path = f"/flexibility-requests/{request['id']}"
    request = await brp.until(path, "offered", "declined", "expired", "cancelled")
    if request["status"] != "offered":
        raise SystemExit(f"{request['status']}: {request['status_reason']}")

    offer = await brp.get(f"/flexibility-offers/{request['offer_ids'][0]}")
    option = offer["options"][0]
    print(f"Offered: {option['intervals'][0]['power_w']} W for {option['price']} {option['currency']}.")
    activation = await brp.post(f"/flexibility-offers/{offer['id']}/acceptance", {"option_id": option["id"]})

    live: dict[str, Any] = {"status": ""}
    while live["status"] not in {"completed", "cancelled"}:
        live = await brp.get(f"/activations/{activation['id']}/live")
        print(f"{live['at']} {live['status']}: {live['delivered_w']} of {live['ordered_w']} W, {live['called']} homes")
        await asyncio.sleep(5)

    while True:
        try:
            return await brp.get(f"/activations/{activation['id']}/report")
        except ApiError as error:
            if error.status != 404:  # noqa: PLR2004  not reported yet
                raise
            await asyncio.sleep(5)


async def main(direction: str, power_w: str, start: str, duration_s: str) -> None:
    """Do it, as the environment says with whom."""
    ask = os.environ
    async with Brp(ask["BRP_URL"], ask["BRP_CLIENT_ID"], ask["BRP_SECRET"], ask.get("BRP_CA")) as brp:
        report = await buy(brp, direction, int(power_w), datetime.fromisoformat(start), int(duration_s))
    delivered = (
        "Not known yet what was delivered" if report["delivered_wh"] is None else f"Delivered {report['delivered_wh']}"
    )
    print(f"{delivered} of {report['ordered_wh']} Wh by {report['method']}.")


if __name__ == "__main__":
    if len(sys.argv) != 5:  # noqa: PLR2004
        sys.exit("Usage: brp.py reduce|increase WATTS START SECONDS")
    asyncio.run(main(*sys.argv[1:]))
