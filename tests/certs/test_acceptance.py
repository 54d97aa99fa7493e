"""A certificate that TLS would never let in is refused before, with the reason."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.acceptance import check_client
from certs.authority import Authority
from certs.keys import common_name, new_key
from certs.server_trust import ServerTrust
from core.errors import InvalidError
from openadr.fingerprint import der_of_pem

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def usage(**named):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: named.get(name, False) for name in names})


CA_KEY = new_key("ec")


def made(*extensions, key=None, until=NOW + DAY, issuer="CA", issuer_key=CA_KEY, algorithm=hashes.SHA256()):  # noqa: B008  a value
    key = key or new_key("ec")
    builder = x509.CertificateBuilder().subject_name(common_name("home")).issuer_name(common_name(issuer))
    builder = builder.public_key(key.public_key()).serial_number(7).not_valid_before(NOW - DAY).not_valid_after(until)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, algorithm)


def pem(*certificates):
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def root(key=CA_KEY, name="CA"):
    builder = x509.CertificateBuilder().subject_name(common_name(name)).issuer_name(common_name(name))
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + 100 * DAY)
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )


CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (lambda: made(CLIENT, until=NOW), "expired on 2026-06-01"),
        (lambda: made(SERVER), "no clientAuth"),
        (lambda: made(usage(key_encipherment=True)), "no digitalSignature"),
        (lambda: made(x509.BasicConstraints(ca=True, path_length=None)), "authority's certificate"),
        (root, "authority's certificate"),
        (lambda: made(CLIENT, key=rsa.generate_private_key(65537, 1024)), "1024 bit"),  # noqa: S505  the weak key that is refused
        (lambda: made(CLIENT, key=ec.generate_private_key(ec.SECP192R1())), "secp192r1"),
        (lambda: made(CLIENT, issuer_key=new_key("ec")), "none of the authorities"),
        (lambda: made(CLIENT, issuer="Somebody else", issuer_key=new_key("ec")), "none of the authorities"),
    ],
)
def test_what_can_never_connect_is_refused_with_the_reason(certificate, reason):
    with pytest.raises(InvalidError, match=reason):
        check_client(pem(certificate()), pem(root()), NOW)


@pytest.mark.parametrize("extensions", [(), (CLIENT,), (CLIENT, usage(digital_signature=True)), (SERVER, CLIENT)[1:]])
def test_what_can_connect_is_accepted(extensions):
    check_client(pem(made(*extensions)), pem(root()), NOW)
    check_client(pem(made(*extensions, issuer_key=new_key("ec"))), None, NOW)  # a proxy in front checks the authority


def test_what_our_own_authority_issues_is_accepted(tmp_path):
    authority = Authority.create(tmp_path / "ca", "CA")
    for key_type in ("ec", "rsa"):
        issued = authority.issue_client("home", key_type=key_type)
        check_client(issued.chain_pem, authority.ca_pem, datetime.now(UTC))
        with pytest.raises(InvalidError, match="no clientAuth"):
            check_client(authority.issue_server(["x"]).chain_pem, authority.ca_pem, datetime.now(UTC))


def test_a_vtn_that_pushes_is_a_server_and_a_client_and_stays_so(tmp_path):
    authority = Authority.create(tmp_path / "ca", "CA")
    issued = authority.issue_server(["vtn.example.org"], calls_clients=True)
    again = authority.renew(issued.record.fingerprint)
    for one in (issued, again):
        assert one.record.kind == "vtn"
        check_client(one.chain_pem, authority.ca_pem, datetime.now(UTC))
        trust = ServerTrust(authority.ca_pem.encode(), "vtn.example.org")
        assert trust.accepts(der_of_pem(one.chain_pem.encode()))


def test_an_authority_between_counts_if_it_is_there():
    between_key = new_key("ec")
    builder = x509.CertificateBuilder().subject_name(common_name("B")).issuer_name(common_name("CA"))
    builder = builder.public_key(between_key.public_key()).serial_number(2)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    between = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        CA_KEY, hashes.SHA256()
    )
    leaf = made(CLIENT, issuer="B", issuer_key=between_key)
    check_client(pem(leaf, between), pem(root()), NOW)
    check_client(pem(leaf), pem(root(), between), NOW)
    with pytest.raises(InvalidError, match="none of the authorities"):
        check_client(pem(leaf), pem(root()), NOW)


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(text):
    with pytest.raises(InvalidError, match="no PEM"):
        check_client(text, None, NOW)
