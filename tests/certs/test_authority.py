import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cert_support import clock
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from certs.authority import Authority
from certs.keys import key_from_pem, new_key, new_request
from core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_keys_are_private(tmp_path, umask):
    before = os.umask(umask)
    try:
        Authority.create(tmp_path / "deep" / "ca", "Test CA")
    finally:
        os.umask(before)
    where = tmp_path / "deep" / "ca"
    assert mode(where) == 0o700
    assert mode(where / "ca-key.pem") == 0o600
    assert sorted(path.name for path in where.iterdir()) == ["ca-key.pem", "ca.pem", "crl.pem", "register.db"]
    assert [path.name for path in where.parent.iterdir()] == ["ca"]


def test_a_key_is_private_from_its_first_byte(tmp_path, monkeypatch):
    modes = []
    real = os.open

    def watched(path, flags, *args, **kwargs):
        descriptor = real(path, flags, *args, **kwargs)
        if str(path).endswith("ca-key.pem"):
            modes.append((stat.S_IMODE(os.fstat(descriptor).st_mode), os.fstat(descriptor).st_size))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    Authority.create(tmp_path / "ca", "Test CA")
    assert modes == [(0o600, 0)]


def test_an_authority_is_never_overwritten(tmp_path):
    made = Authority.create(tmp_path / "ca", "Test CA")
    for name in ("Test CA", "Other CA"):
        with pytest.raises(ConflictError):
            Authority.create(tmp_path / "ca", name)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(ConflictError):
        Authority.create(tmp_path / "full", "Test CA")
    assert Authority.load(tmp_path / "ca").ca_pem == made.ca_pem
    (tmp_path / "empty").mkdir()
    Authority.create(tmp_path / "empty", "Test CA")


@pytest.mark.parametrize(
    ("name", "key_type", "days"), [("", "ec", 10), ("x", "dsa", 10), ("x", "ec", 0), ("a\nb", "ec", 1)]
)
def test_a_refused_authority_leaves_nothing(tmp_path, name, key_type, days):
    with pytest.raises(InvalidError):
        Authority.create(tmp_path / "ca", name, key_type=key_type, days=days)
    assert list(tmp_path.iterdir()) == []


def test_loading_what_is_not_there_or_damaged(tmp_path):
    with pytest.raises(NotFoundError, match="certs init"):
        Authority.load(tmp_path / "ca")
    Authority.create(tmp_path / "ca", "Test CA")
    other = Authority.create(tmp_path / "other", "Other CA")
    (tmp_path / "ca" / "ca.pem").write_text(other.ca_pem)
    with pytest.raises(InvalidError, match="belong together"):
        Authority.load(tmp_path / "ca")
    (tmp_path / "ca" / "ca.pem").write_text("junk")
    with pytest.raises(InvalidError, match="backup"):
        Authority.load(tmp_path / "ca")
    (tmp_path / "ca" / "ca-key.pem").write_text("junk")
    with pytest.raises(InvalidError, match="private key"):
        Authority.load(tmp_path / "ca")


@pytest.mark.parametrize("key_type", ["ec", "rsa"])
def test_a_server_certificate(authority, key_type):
    issued = authority.issue_server(["vtn.example.org", "*.example.org", "192.0.2.1", "2001:db8::1"], key_type=key_type)
    found = certificate(issued.chain_pem)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["vtn.example.org", "*.example.org"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["192.0.2.1", "2001:db8::1"]
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_encipherment is (key_type == "rsa")
    assert key_from_pem(issued.key_pem, "key").public_key() == found.public_key()
    assert found.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=4)
    assert "BEGIN PRIVATE" not in repr(issued)


@pytest.mark.parametrize(
    "names", [[], ["a b"], [""], ["-x.org"], ["999.1.1.1/8"], ["ü.org"], ["a" * 64 + ".org"], ["x\n"]]
)
def test_server_names_are_checked(authority, names):
    with pytest.raises(InvalidError):
        authority.issue_server(names)


def test_a_long_server_name_still_fits(authority):
    name = ".".join(["label"] * 20) + ".org"
    issued = authority.issue_server([name])
    assert issued.record.name == name


def test_serials_are_random(authority):
    serials = {authority.issue_client("home").record.serial for _ in range(4)}
    assert len(serials) == 4
    assert all(len(serial) > 30 for serial in serials)


def test_a_leaf_never_outlives_its_authority(tmp_path):
    short = Authority.create(tmp_path / "ca", "Short CA", days=30)
    assert short.issue_client("home", days=365).record.not_after == short.not_after
    late = Authority.load(tmp_path / "ca", now=clock(days_ago=-40))
    with pytest.raises(ConflictError, match="expired"):
        late.issue_client("home")


_SHA256 = hashes.SHA256()


def request_by(key, name="someone else", digest=_SHA256, extension=None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("key_type", ["ec", "rsa"])
def test_only_the_key_of_a_request_counts(authority, key_type):
    key = new_key(key_type)
    greedy = request_by(key, "admin", extension=x509.BasicConstraints(ca=True, path_length=3))
    issued = authority.sign_request(greedy, "home-7", days=20)
    found = certificate(issued.chain_pem)
    assert found.subject.rfc4514_string() == "CN=home-7"
    assert found.public_key() == key.public_key()
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert issued.key_pem is None
    assert issued.record.kind == "client"
    assert (issued.record.not_after - datetime.now(UTC)).days in {19, 20}


def broken_signature() -> str:
    der = bytearray(
        x509.load_pem_x509_csr(request_by(new_key("rsa")).encode()).public_bytes(serialization.Encoding.DER)
    )
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: "", "no signing request"),
        (lambda: "junk" * 20_000, "too large"),
        (lambda: "\ud800", "no signing request"),
        (lambda: request_by(new_key("ec")).replace("MI", "MJ", 1), "no signing request"),
        (broken_signature, "does not fit"),
        (lambda: request_by(rsa.generate_private_key(65537, 1024)), "1024 bit"),  # noqa: S505  that it is weak is the point
        (lambda: request_by(ec.generate_private_key(ec.SECP224R1())), "secp224r1"),
        (lambda: request_by(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (lambda: request_by(ed25519.Ed25519PrivateKey.generate(), digest=None), "elliptic-curve"),
        (lambda: request_by(new_key("ec"), digest=hashes.SHA224()), "SHA-256"),
    ],
)
def test_bad_requests(authority, make, match):
    before = len(authority.issued())
    with pytest.raises(InvalidError, match=match):
        authority.sign_request(make(), "home")
    assert len(authority.issued()) == before


@pytest.mark.parametrize("name", ["", "x" * 65, "a\0b", "a\nb", " home", "\ud800"])
def test_bad_names(authority, name):
    with pytest.raises(InvalidError, match="name"):
        authority.issue_client(name)


def test_the_register_remembers(tmp_path):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    server = authority.issue_server(["localhost"]).record
    client = authority.issue_client("home").record
    again = Authority.load(tmp_path / "ca")
    assert again.issued() == (server, client)
    assert (server.kind, client.kind) == ("server", "client")
    revoked = again.revoke(client.fingerprint.lower(), "keyCompromise")
    assert revoked.reason == "keyCompromise"
    assert again.revoke(client.serial.upper(), "superseded") == revoked
    assert authority.issued()[1].revoked_at == revoked.revoked_at
    with pytest.raises(NotFoundError, match="certs list"):
        authority.revoke("00:11")
    with pytest.raises(InvalidError, match="superseded"):
        authority.revoke(server.serial, "mood")


def test_the_revocation_list(tmp_path):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    root = certificate(authority.ca_pem)
    crl_path = tmp_path / "ca" / "crl.pem"
    first = x509.load_pem_x509_crl(crl_path.read_bytes())
    assert len(first) == 0
    issued = [authority.issue_client(f"home-{n}").record for n in range(3)]
    authority.revoke(issued[0].serial)
    authority.revoke(issued[2].serial, "superseded")
    crl = x509.load_pem_x509_crl(crl_path.read_bytes())
    assert crl.is_signature_valid(root.public_key())
    assert {f"{one.serial_number:x}" for one in crl} == {issued[0].serial, issued[2].serial}
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number > first.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    later = Authority.load(tmp_path / "ca", now=clock(days_ago=-400))
    later.write_crl()
    assert len(x509.load_pem_x509_crl(crl_path.read_bytes())) == 0  # all have ended anyway


def test_the_list_is_written_again_after_a_month(tmp_path):
    revoked = Authority.create(tmp_path / "ca", "Test CA").issue_client("home").record
    Authority.load(tmp_path / "ca").revoke(revoked.serial)
    crl_path = tmp_path / "ca" / "crl.pem"
    first = crl_path.read_text()
    Authority.load(tmp_path / "ca", now=clock(days_ago=-29)).keep_crl()
    assert crl_path.read_text() == first
    Authority.load(tmp_path / "ca", now=clock(days_ago=-31)).keep_crl()
    again = x509.load_pem_x509_crl(crl_path.read_bytes())
    assert again.next_update_utc - x509.load_pem_x509_crl(first.encode()).next_update_utc > timedelta(days=30)
    assert [f"{one.serial_number:x}" for one in again] == [revoked.serial]


@pytest.mark.parametrize("text", [None, "", "Written yesterday\n", "Written 2026-01-01T00:00:00\n", "\xff", "no date"])
def test_a_list_of_unknown_age_is_written_again(tmp_path, text):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    crl_path = tmp_path / "ca" / "crl.pem"
    crl_path.unlink()
    if text is not None:
        crl_path.write_bytes(text.encode("latin-1"))
    authority.keep_crl()
    assert len(x509.load_pem_x509_crl(crl_path.read_bytes())) == 0


def test_revocations_at_once_all_reach_the_list(tmp_path):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    serials = [authority.issue_client(f"home-{n}").record.serial for n in range(8)]
    threads = [threading.Thread(target=Authority.load(tmp_path / "ca").revoke, args=(serial,)) for serial in serials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crl = x509.load_pem_x509_crl((tmp_path / "ca" / "crl.pem").read_bytes())
    assert {f"{one.serial_number:x}" for one in crl} == set(serials)


def test_nothing_is_entered_while_the_list_is_written(tmp_path, monkeypatch):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    serial = authority.issue_client("home").record.serial
    blocked = []

    def write(path, text):
        with closing(sqlite3.connect(tmp_path / "ca" / "register.db", timeout=0)) as other:
            try:
                other.execute("UPDATE certificate SET reason = reason")
            except sqlite3.OperationalError as error:
                blocked.append(str(error))

    monkeypatch.setattr("certs.authority.write_over", write)
    authority.revoke(serial)
    assert blocked == ["database is locked"]


def test_renewal(authority):
    server = authority.issue_server(["vtn.example.org", "192.0.2.7"], days=10)
    renewed = authority.renew(server.record.fingerprint, days=100)
    old, new = certificate(server.chain_pem), certificate(renewed.chain_pem)
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    assert (
        new.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        == old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    assert (renewed.record.name, renewed.record.kind) == (server.record.name, "server")
    assert renewed.record.not_after > server.record.not_after
    assert renewed.record.not_before < server.record.not_after
    client = authority.issue_client("home")
    key = new_key()
    moved = authority.renew(client.record.serial, csr_pem=new_request(key, "whoever"))
    assert certificate(moved.chain_pem).public_key() == key.public_key()
    assert moved.record.name == "home"


def test_a_revoked_certificate_is_not_renewed(authority):
    record = authority.issue_client("home").record
    authority.revoke(record.serial)
    with pytest.raises(ConflictError, match="revoked"):
        authority.renew(record.serial)


def test_a_damaged_register_is_a_clear_error(tmp_path):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    (tmp_path / "ca" / "register.db").write_text("no database" * 100)
    with pytest.raises(UnavailableError, match="register"):
        authority.issue_client("home")
