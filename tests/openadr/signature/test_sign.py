"""Making signatures: from our messages only, with keys that are strong enough."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certs.keys import key_to_pem
from core.errors import InvalidError
from openadr.signature.sign import Signer, new_nonce
from openadr.v20b import messages as m
from openadr.v20b.encode import encode


def test_nonces_differ():
    assert len({new_nonce() for _ in range(100)}) == 100


@pytest.mark.parametrize("body", [b"<a/>", encode(m.Poll("v")), b"<a><b/><c/></a>"])
def test_only_a_message_with_an_id_is_signed(ec_party, body):
    with pytest.raises(InvalidError, match="has an Id"):
        ec_party.signer.sign(body, ec_party.now, "nonce")


def test_what_is_signed_is_what_is_sent(party):
    body = party.signed(m.Poll("ven-1"))
    assert body.endswith(b"<ei:venID>ven-1</ei:venID></oadr:oadrPoll></oadr:oadrSignedObject></oadr:oadrPayload>")
    assert body.count(b"<?xml") == 1


def test_keys_that_cannot_be_used(ec_party, stranger, tmp_path):
    key, cert = ec_party.key_pem.encode(), ec_party.cert_pem.encode()
    for wrong_key, wrong_cert in ((b"", cert), (key, b""), (cert, key), (stranger.key_pem.encode(), cert)):
        with pytest.raises(InvalidError):
            Signer(wrong_key, wrong_cert)
    weak = key_to_pem(rsa.generate_private_key(65537, 1024)).encode()  # noqa: S505  too weak on purpose
    with pytest.raises(InvalidError):
        Signer(weak, cert)
