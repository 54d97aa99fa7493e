"""Keys of both kinds with certificates of an authority, and messages signed by them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml.etree import _Element

from certs.authority import Authority
from certs.kinds import KeyType
from openadr.signature.sign import Signer
from openadr.signature.values import Verified
from openadr.signature.verify import Verifier
from openadr.v20b.decode import parse
from openadr.v20b.encode import encode
from openadr.v20b.messages import Message

_FOLDER = str(Path(__file__).parents[1] / "strategies")
if _FOLDER not in sys.path:
    sys.path.insert(0, _FOLDER)

NONCE = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who signs. Times are machine time, an hour after the certificate was made."""

    key_pem: str
    cert_pem: str
    ca_pem: str
    signer: Signer
    now: datetime

    def signed(self, message: Message, *, after: timedelta = timedelta(), nonce: str = NONCE) -> bytes:
        return encode(message, sign=lambda body: self.signer.sign(body, self.now + after, nonce))

    def verify(
        self, body: bytes | _Element, *, after: timedelta = timedelta(), trusts: Callable[[bytes], bool] | None = None
    ) -> Verified | None:
        payload = parse(body) if isinstance(body, bytes) else body
        verifier = Verifier(now=lambda: self.now + after)
        return verifier.verify(payload, trusts or (lambda der: der == self.signer.certificate))


def _party(folder: Path, kind: KeyType) -> Party:
    authority = Authority.create(folder, "Test CA")
    issued = authority.issue_client("signer", key_type=kind, days=30)
    assert issued.key_pem is not None
    leaf = issued.chain_pem.partition("-----END CERTIFICATE-----")
    signer = Signer(issued.key_pem.encode(), issued.chain_pem.encode())
    now = datetime.now(UTC) + timedelta(hours=1)
    return Party(issued.key_pem, leaf[0] + leaf[1] + "\n", authority.ca_pem, signer, now)


@pytest.fixture(scope="session", params=[KeyType.RSA, KeyType.EC], ids=["rsa", "p256"])
def party(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("ca") / "ca", request.param)


@pytest.fixture(scope="session")
def ec_party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("ec") / "ca", KeyType.EC)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return _party(tmp_path_factory.mktemp("stranger") / "ca", KeyType.EC)
