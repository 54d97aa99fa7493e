"""Real handshakes over loopback."""

import ssl
import subprocess
from pathlib import Path

import pytest
from cert_support import Files, bundle_for, clock, enrol, meet, save

from certs.authority import Authority
from certs.provisioning import new_key_and_request, store_bundle
from certs.tls import client_context, server_context
from core.errors import InvalidError

EC, RSA = "ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"


def context_of(server: Files, authority: Authority, **kwargs) -> ssl.SSLContext:
    return server_context(server.cert, server.key, authority.directory / "ca.pem", **kwargs)


@pytest.mark.parametrize("server_type", ["ec", "rsa"])
@pytest.mark.parametrize("client_type", ["ec", "rsa"])
@pytest.mark.parametrize("profile", ["modern", "compatible", "certification"])
def test_both_sides_know_each_other(tmp_path, authority, servers, server_type, client_type, profile):
    home = enrol(authority, tmp_path / "home", key_type=client_type)
    server = context_of(servers[server_type], authority, profile=profile)
    for host in ("localhost", "127.0.0.1"):
        met = meet(server, client_context(home, profile=profile), host)
        assert met.ok
        assert met.fingerprint == home.fingerprint
        assert met.server_fingerprint == servers[server_type].fingerprint
    if profile == "certification":
        assert met.version == "TLSv1.2"
        assert met.cipher == (EC if server_type == "ec" else RSA)


@pytest.mark.parametrize("suite", [EC, RSA])
def test_one_server_holds_both_kinds_of_certificate(tmp_path, authority, servers, suite):
    home = enrol(authority, tmp_path / "home")
    rsa = servers["rsa"]
    server = context_of(servers["ec"], authority, also=[(rsa.cert, rsa.key)], profile="certification")
    client = client_context(home, profile="certification")
    client.set_ciphers(suite)
    met = meet(server, client)
    assert met.ok
    assert met.cipher == suite
    assert met.server_fingerprint == servers["ec" if suite == EC else "rsa"].fingerprint


@pytest.mark.parametrize(
    ("suites", "version", "suite"),
    [
        (RSA, "TLSv1.2", RSA),
        (EC, "TLSv1.2", EC),
        (f"{RSA}:ECDHE+AESGCM", "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (None, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ],
    ids=["RSA only", "EC only", "an old one first", "modern"],
)
def test_se01_the_compatible_profile_serves_old_and_modern_clients(
    tmp_path, authority, servers, suites, version, suite
):
    home = enrol(authority, tmp_path / "home", key_type="rsa")
    rsa = servers["rsa"]
    server = context_of(servers["ec"], authority, also=[(rsa.cert, rsa.key)], profile="compatible")
    client = client_context(home)
    if suites is not None:
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(suites)
    met = meet(server, client)
    assert met.ok, met
    assert (met.version, met.cipher) == (version, suite)


def test_the_certification_profile_offers_nothing_else(tmp_path, authority, servers):
    home = enrol(authority, tmp_path / "home")
    server = context_of(servers["ec"], authority, profile="certification")
    assert {one["name"] for one in server.get_ciphers() if one["protocol"] != "TLSv1.3"} == {EC, RSA}
    client = client_context(home)
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    assert not meet(server, client).ok


def test_our_certificates_satisfy_the_strict_reading_of_rfc_5280(tmp_path, authority, rsa_authority, servers):
    for ours in (authority, rsa_authority):
        home = enrol(ours, tmp_path / ours.directory.parent.name)
        issued = ours.issue_server(["localhost"])
        server = context_of(save(tmp_path / f"{ours.directory.parent.name}-server", issued), ours)
        client = client_context(home)
        for one in (server, client):
            one.verify_flags |= ssl.VERIFY_X509_STRICT
        assert meet(server, client).ok


def test_a_client_without_certificate_is_refused(authority, servers):
    client = ssl.create_default_context(cafile=authority.directory / "ca.pem")
    met = meet(context_of(servers["ec"], authority), client)
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(met.server_error)
    assert met.client_error is not None
    assert meet(context_of(servers["ec"], authority, require_client=False), client).ok


def test_a_client_of_a_foreign_authority_is_refused(tmp_path, authority, servers):
    foreign = Authority.create(tmp_path / "foreign", "Test CA")  # the same name
    request = new_key_and_request(tmp_path / "home", "home-1")
    issued = foreign.sign_request(request, "home-1")
    store_bundle(tmp_path / "home", bundle_for(foreign, issued))
    client = ssl.create_default_context(cafile=authority.directory / "ca.pem")
    client.load_cert_chain(tmp_path / "home/cert.pem", tmp_path / "home/key.pem")
    met = meet(context_of(servers["ec"], authority), client)
    assert met.fingerprint is None
    assert isinstance(met.server_error, ssl.SSLCertVerificationError)


def test_an_expired_client_is_refused(tmp_path, authority, servers):
    past = Authority.create(tmp_path / "ca", "Old CA", now=clock(days_ago=100))
    home = enrol(past, tmp_path / "home", days=10)
    present = Authority.load(tmp_path / "ca")
    server = save(tmp_path / "server", present.issue_server(["localhost"]))
    met = meet(context_of(server, present), client_context(home))
    assert isinstance(met.server_error, ssl.SSLCertVerificationError)
    assert "expired" in str(met.server_error)
    assert met.fingerprint is None


def test_a_server_certificate_is_no_client_certificate(authority, servers):
    client = ssl.create_default_context(cafile=authority.directory / "ca.pem")
    client.load_cert_chain(servers["ec"].cert, servers["ec"].key)
    met = meet(context_of(servers["ec"], authority), client)
    assert isinstance(met.server_error, ssl.SSLCertVerificationError)


def test_the_client_refuses_the_wrong_host_name(tmp_path, authority, servers):
    home = enrol(authority, tmp_path / "home")
    server = context_of(servers["ec"], authority)
    met = meet(server, client_context(home), "vtn.example.org")
    assert isinstance(met.client_error, ssl.SSLCertVerificationError)
    assert "vtn.example.org" in str(met.client_error)
    assert meet(server, client_context(home, check_hostname=False), "vtn.example.org").ok


def test_the_client_refuses_a_foreign_server(tmp_path, authority, rsa_authority, servers):
    stranger = enrol(rsa_authority, tmp_path / "home")
    met = meet(context_of(servers["ec"], authority), client_context(stranger, check_hostname=False))
    assert isinstance(met.client_error, ssl.SSLCertVerificationError)


def test_the_client_refuses_a_client_certificate_as_server(tmp_path, authority):
    home = enrol(authority, tmp_path / "home")
    fake = server_context(home.cert_path, home.key_path, home.ca_path)
    met = meet(fake, client_context(home, check_hostname=False))
    assert isinstance(met.client_error, ssl.SSLCertVerificationError)


def test_the_client_refuses_an_expired_server(tmp_path):
    past = Authority.create(tmp_path / "ca", "Old CA", now=clock(days_ago=100))
    server = save(tmp_path / "server", past.issue_server(["localhost"], days=10))
    home = enrol(Authority.load(tmp_path / "ca"), tmp_path / "home")
    met = meet(context_of(server, past), client_context(home))
    assert "expired" in str(met.client_error)


def test_a_revoked_client_is_refused_when_the_list_is_loaded(tmp_path):
    authority = Authority.create(tmp_path / "ca", "Test CA")
    server = save(tmp_path / "server", authority.issue_server(["localhost"]))
    home, other = (enrol(authority, tmp_path / name, name) for name in ("home-1", "home-2"))
    authority.revoke(home.fingerprint, "keyCompromise")
    strict = context_of(server, authority, crl=authority.directory / "crl.pem")
    assert "revoked" in str(meet(strict, client_context(home)).server_error)
    assert meet(strict, client_context(other)).ok
    assert meet(context_of(server, authority), client_context(home)).ok


def test_old_and_renewed_certificate_are_both_valid(tmp_path, authority, servers):
    home = enrol(authority, tmp_path / "home")
    renewed = authority.renew(home.fingerprint)
    server = context_of(servers["ec"], authority)
    assert meet(server, client_context(home)).fingerprint == home.fingerprint
    home.cert_path.write_text(renewed.chain_pem)
    assert meet(server, client_context(home)).fingerprint == renewed.record.fingerprint != home.fingerprint


@pytest.mark.parametrize("key_type", ["ec", "rsa"])
def test_fingerprint_and_shape_as_openssl_sees_them(tmp_path, authority, key_type):
    home = enrol(authority, tmp_path / "home", key_type=key_type)
    shown = openssl("x509", "-in", home.cert_path, "-noout", "-fingerprint", "-sha256")
    assert shown.strip().split("=")[1][-29:] == home.fingerprint
    text = openssl("x509", "-in", home.cert_path, "-noout", "-text")
    for part in (
        "Version: 3",
        "Signature Algorithm: ecdsa-with-SHA256",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical",
        "TLS Web Client Authentication",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
    ):
        assert part in text
    assert "TLS Web Server Authentication" not in text
    assert "OK" in openssl("verify", "-x509_strict", "-CAfile", home.ca_path, "-purpose", "sslclient", home.cert_path)
    request = openssl("req", "-new", "-key", home.key_path, "-subj", "/CN=x")
    assert authority.sign_request(request, "from openssl").record.name == "from openssl"


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def test_files_that_cannot_be_used_are_named(tmp_path, authority, servers):
    ec, rsa = servers["ec"], servers["rsa"]
    ca = authority.directory / "ca.pem"
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for cert, key, trust, named in (
        (ec.cert, rsa.key, ca, "key.pem"),
        (tmp_path / "none.pem", ec.key, ca, "none.pem"),
        (junk, ec.key, ca, "junk.pem"),
        (ec.cert, ec.key, junk, "junk.pem"),
        (ec.cert, ec.key, tmp_path, tmp_path.name),
    ):
        with pytest.raises(InvalidError, match=named):
            server_context(cert, key, trust)
    with pytest.raises(InvalidError, match="compatible or certification"):
        server_context(ec.cert, ec.key, ca, profile="old")


def test_a_key_with_a_password_is_refused_without_asking(tmp_path, authority, servers):
    ec = servers["ec"]
    locked = tmp_path / "locked.pem"
    openssl("pkcs8", "-topk8", "-in", ec.key, "-out", locked, "-passout", "pass:secret")
    with pytest.raises(InvalidError, match="password"):
        server_context(ec.cert, locked, authority.directory / "ca.pem")
