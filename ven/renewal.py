"""The gateway's certificate is renewed in time, with a new key that is made here; the running gateway takes it up.

Old and new certificate are both valid until the old one ends. Everything here is machine time.
"""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from certs.keys import key_type_of_file
from certs.provisioning import Identity, discard, new_key_and_request, store_bundle
from certs.tls import client_context
from core.clock import machine_now
from core.errors import EvenloadError, ForbiddenError, InvalidError, UnavailableError
from ven.household import Household

_log = structlog.get_logger(__name__)

_PATH: Final = "/evenload/renewal"
_OPENADR: Final = "/OpenADR2/Simple/2.0b"
_LOOK_EVERY: Final = timedelta(hours=1)
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=6)
_SHORTEST_NAP_S: Final = 1.0
_MOST_BYTES: Final = 1_000_000
_TIME_OUT_S: Final = 20.0
_SERVER_ERRORS: Final = 500


def renew_at(identity: Identity) -> datetime:
    """Return when an identity should be renewed: after two thirds of its life."""
    return identity.not_before + (identity.not_after - identity.not_before) * 2 / 3


async def keep_fresh(household: Household, now: Callable[[], datetime] = machine_now) -> None:
    """Renew the household's identity whenever it is due, for ever; what fails is tried again, ever more seldom."""
    pause = _FIRST_PAUSE
    longest = _LONGEST_PAUSE
    while True:
        wait = _LOOK_EVERY
        try:
            identity = Identity.load(household.identity)
            longest = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, (identity.not_after - now()) / 10))
            left = renew_at(identity) - now()
            if left <= timedelta():
                renewed = await asyncio.to_thread(renew, household, identity)
                _log.info("certificate renewed", until=renewed.not_after.isoformat(), fingerprint=renewed.fingerprint)
                pause = _FIRST_PAUSE
            else:
                wait = min(wait, left)
        except EvenloadError as error:
            wait, pause = min(pause, longest), min(2 * pause, longest)
            _log.warning("the certificate could not be renewed", why=str(error), next_try_in_s=wait.total_seconds())
        await asyncio.sleep(max(wait.total_seconds(), _SHORTEST_NAP_S))


def renew(household: Household, identity: Identity) -> Identity:
    """Get a new certificate for a new key over the connection of the present one, and put it in its place.

    Raises ForbiddenError (refused), UnavailableError (not reachable), InvalidError (an answer that is none); the
    present identity then stays as it is.
    """
    base = (household.vtn.url or identity.vtn_url).rstrip("/").removesuffix(_OPENADR)
    context = client_context(identity, check_hostname=household.vtn.check_hostname)
    kind = key_type_of_file(identity.key_path)
    request = new_key_and_request(identity.directory, identity.ven_name[:64].strip(), kind, replace=True)
    try:
        bundle = _post(base + _PATH, request, context)
        _check_owner(bundle, identity)
    except BaseException:
        discard(identity.directory)
        raise
    return store_bundle(identity.directory, bundle, replace=True)  # if this breaks off, the next load finishes it


def _check_owner(bundle: dict[str, Any], identity: Identity) -> None:
    if bundle.get("ven_id") != identity.ven_id:
        raise InvalidError("The VTN answered for another VEN; the certificate stays.")


def _post(url: str, csr: str, context: ssl.SSLContext) -> dict[str, Any]:
    if not url.startswith("https://"):
        raise InvalidError(f"{url} is no https:// address; a certificate is renewed over TLS only.")
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"csr": csr}).encode(), headers, method="POST")  # noqa: S310  https
    try:
        with urllib.request.urlopen(request, timeout=_TIME_OUT_S, context=context) as response:  # noqa: S310  https
            answer = json.loads(response.read(_MOST_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(_MOST_BYTES).decode(errors="replace").strip()[:300]
        if error.code >= _SERVER_ERRORS:
            raise UnavailableError(f"The VTN cannot renew now (HTTP {error.code}): {text}") from error
        raise ForbiddenError(f"The VTN does not renew this certificate (HTTP {error.code}): {text}") from error
    except (urllib.error.URLError, OSError) as error:
        raise UnavailableError(f"{url} cannot be reached: {getattr(error, 'reason', error)}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{url} did not answer with JSON.") from error
    if not isinstance(answer, dict):
        raise InvalidError(f"{url} did not answer with a certificate.")
    return answer
