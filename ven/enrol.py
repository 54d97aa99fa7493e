"""Enrolment from the gateway's side: a one-time code becomes an identity; the key is made here and stays here."""

import hashlib
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from certs.files import write_new
from certs.provisioning import Identity, discard, new_key_and_request, store_bundle
from core.errors import ForbiddenError, InvalidError, UnavailableError
from openadr.fingerprint import der_of_pem

_MOST_BYTES: Final = 1_000_000
_TIME_OUT_S: Final = 20.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SERVER_ERRORS: Final = 500


def enrol(
    code: str,
    base_url: str,
    ca: Path | None,
    directory: Path,
    name: str,
    key_type: str = "ec",
    *,
    replace: bool = False,
) -> Identity:
    """Redeem a code at the VTN's operator address and store the identity in `directory`.

    `base_url` is that address, with or without /v1; `ca` the file to check its certificate with: without it the
    system's authorities count. Plain http is taken on loopback only. Raises InvalidError (bad code, bad files),
    ForbiddenError (refused), ConflictError (an identity is there), UnavailableError (not reachable: the same code can
    be tried again).
    """
    url = f"{_api(base_url)}/enrolments"
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InvalidError(f"{base_url} is no https:// address; the code would travel unprotected.")
    context = _context(ca) if parts.scheme == "https" else None
    request = new_key_and_request(directory, name, key_type, replace=replace)
    try:
        bundle = _post(url, {"code": code.strip(), "csr": request}, context)
    except BaseException:
        discard(directory)
        raise
    return store_bundle(directory, bundle, replace=replace)


def fetch_ca(base_url: str, sha256: str, target: Path) -> None:
    """Get the certificate of the VTN's authority and write it to `target`, if its SHA-256 is the one that was told.

    The fingerprint is what is trusted here: the way to the VTN cannot be checked yet. Raises InvalidError for another
    certificate, ConflictError if the file exists, UnavailableError (not reachable).
    """
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    url = f"{_api(base_url)}/ca.pem"
    if urlsplit(url).scheme not in {"https", "http"}:
        raise InvalidError(f"{base_url} is no https:// address.")
    try:
        with urllib.request.urlopen(url, timeout=_TIME_OUT_S, context=unchecked) as response:  # noqa: S310  checked
            pem = response.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            text = _problem(error.read(_MOST_BYTES)) or f"HTTP {error.code}"
        raise UnavailableError(f"{url}: {text}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UnavailableError(f"{url} cannot be reached: {getattr(error, 'reason', error)}.") from error
    der = der_of_pem(pem)
    found = hashlib.sha256(der).digest().hex(":").upper()
    if found.replace(":", "") != sha256.strip().replace(":", "").upper():
        raise InvalidError(f"{url} has another certificate than you were told (SHA-256 {found}); do not enrol there.")
    write_new(target, ssl.DER_cert_to_PEM_cert(der))


def _api(base_url: str) -> str:
    """Return the address of the API's first version: people type it with or without /v1."""
    return base_url.rstrip("/").removesuffix("/v1") + "/v1"


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise InvalidError(f"{ca} is no file with authorities in PEM: {error}") from error


def _post(url: str, body: dict[str, str], context: ssl.SSLContext | None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310  https, or http on loopback: checked by the caller
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json, application/problem+json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIME_OUT_S, context=context) as response:  # noqa: S310
            answer = json.loads(response.read(_MOST_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            text = _problem(error.read(_MOST_BYTES)) or f"HTTP {error.code}"
        if error.code >= _SERVER_ERRORS:
            raise UnavailableError(f"The VTN cannot enrol now: {text}") from error
        raise ForbiddenError(f"The VTN did not take the code: {text}") from error
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(f"{url} cannot be reached: {reason}. Try again with the same code.") from error
    except ValueError as error:
        raise InvalidError(f"{url} did not answer with JSON; is the address right?") from error
    if not isinstance(answer, dict):
        raise InvalidError(f"{url} did not answer with an enrolment; is the address right?")
    return answer


def _problem(body: bytes) -> str:
    """Return what a problem document (RFC 9457) says, or nothing."""
    try:
        problem = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(problem, dict):
        return ""
    return str(problem.get("detail") or problem.get("title") or "")[:500]
