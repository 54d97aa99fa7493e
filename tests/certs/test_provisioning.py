import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cert_support import VTN_URL, bundle_for, clock, enrol
from cryptography import x509

from certs.authority import Authority
from certs.provisioning import Identity, discard, new_key_and_request, store_bundle
from core.errors import ConflictError, InvalidError, NotFoundError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("key_type", ["ec", "rsa"])
def test_the_whole_way(tmp_path, authority, key_type):
    home = tmp_path / "home"
    request = new_key_and_request(home, "home-1", key_type)
    assert x509.load_pem_x509_csr(request.encode()).is_signature_valid
    assert "PRIVATE" not in request
    assert not home.exists()
    issued = authority.sign_request(request, "home-1")
    identity = store_bundle(home, json.loads(json.dumps(bundle_for(authority, issued))))
    assert identity == Identity.load(home)
    assert (identity.vtn_url, identity.vtn_id, identity.ven_id, identity.ven_name) == (
        VTN_URL,
        "vtn-1",
        "ven-1",
        "home-1",
    )
    assert identity.fingerprint == issued.record.fingerprint
    assert names(tmp_path) == ["home"]
    assert names(home) == ["ca.pem", "cert.pem", "key.pem", "vtn.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(json.loads((home / "vtn.json").read_text())) == {
        "vtn_url",
        "vtn_id",
        "ven_id",
        "ven_name",
        "fingerprint",
    }


def test_there_is_no_identity_yet(tmp_path):
    with pytest.raises(NotFoundError, match="evenload ven enrol"):
        Identity.load(tmp_path / "home")
    with pytest.raises(NotFoundError, match="evenload ven enrol"):
        store_bundle(tmp_path / "home", {})


@pytest.mark.parametrize(
    "change",
    [
        {"ven_id": None},
        {"ven_id": ""},
        {"ven_name": "a\nb"},
        {"vtn_id": 7},
        {"vtn_url": "ftp://x"},
        {"vtn_url": "https://"},
        {"vtn_url": "https://[x"},
        {"vtn_url": "https://host:99999"},
        {"fingerprint": "00:11"},
        {"certificate": "junk"},
        {"certificate": "x" * 70_000},
        {"certificate": "\ud800"},
        {"ca": ""},
        {"ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
    ],
)
def test_a_bad_answer_leaves_nothing(tmp_path, authority, change):
    request = new_key_and_request(tmp_path / "home", "home-1")
    bundle = bundle_for(authority, authority.sign_request(request, "home-1"), **change)
    with pytest.raises(InvalidError):
        store_bundle(tmp_path / "home", bundle)
    assert names(tmp_path) == []


def test_an_answer_that_is_no_object(tmp_path):
    new_key_and_request(tmp_path / "home", "home-1")
    with pytest.raises(InvalidError, match="no JSON object"):
        store_bundle(tmp_path / "home", ["no", "object"])
    assert names(tmp_path) == []


def test_a_certificate_for_another_key(tmp_path, authority):
    new_key_and_request(tmp_path / "home", "home-1")
    with pytest.raises(InvalidError, match="another key"):
        store_bundle(tmp_path / "home", bundle_for(authority, authority.issue_client("home-1")))


def test_a_certificate_of_another_authority(tmp_path, authority, rsa_authority):
    request = new_key_and_request(tmp_path / "home", "home-1")
    bundle = bundle_for(authority, authority.sign_request(request, "home-1"), ca=rsa_authority.ca_pem)
    with pytest.raises(InvalidError, match="authority"):
        store_bundle(tmp_path / "home", bundle)


def test_a_second_enrolment_needs_a_word(tmp_path, authority):
    first = enrol(authority, tmp_path / "home")
    with pytest.raises(ConflictError, match="--replace"):
        new_key_and_request(tmp_path / "home", "home-1")
    with pytest.raises(ConflictError, match="--replace"):
        store_bundle(tmp_path / "home", {})
    assert Identity.load(tmp_path / "home") == first
    second = enrol(authority, tmp_path / "home", "home-1b", replace=True)
    assert second.fingerprint != first.fingerprint
    assert Identity.load(tmp_path / "home.old") == replace(first, directory=tmp_path / "home.old")
    third = enrol(authority, tmp_path / "home", "home-1c", replace=True)
    assert Identity.load(tmp_path / "home") == third
    assert Identity.load(tmp_path / "home.old").fingerprint == second.fingerprint
    assert names(tmp_path) == ["home", "home.old"]


def test_a_failed_second_enrolment_leaves_the_first(tmp_path, authority):
    first = enrol(authority, tmp_path / "home")
    new_key_and_request(tmp_path / "home", "home-1", replace=True)
    assert Identity.load(tmp_path / "home") == first
    with pytest.raises(InvalidError):
        store_bundle(tmp_path / "home", {}, replace=True)
    assert Identity.load(tmp_path / "home") == first
    assert names(tmp_path) == ["home"]


def test_a_broken_off_enrolment_starts_again(tmp_path, authority):
    stale = authority.sign_request(new_key_and_request(tmp_path / "home", "home-1"), "home-1")
    fresh = new_key_and_request(tmp_path / "home", "home-1")
    with pytest.raises(InvalidError, match="another key"):
        store_bundle(tmp_path / "home", bundle_for(authority, stale))
    fresh = new_key_and_request(tmp_path / "home", "home-1")
    store_bundle(tmp_path / "home", bundle_for(authority, authority.sign_request(fresh, "home-1")))
    new_key_and_request(tmp_path / "other", "home-2")
    discard(tmp_path / "other")
    discard(tmp_path / "other")
    assert names(tmp_path) == ["home"]


@pytest.mark.parametrize("again", [False, True])
def test_a_replacement_cut_off_between_its_moves_is_finished(tmp_path, authority, monkeypatch, again):
    home = tmp_path / "home"
    enrol(authority, home)
    real = Path.rename

    def power_cut(self, target):
        if self.name == "home.new":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", power_cut)
    with pytest.raises(KeyboardInterrupt):
        enrol(authority, home, "home-1b", replace=True)
    assert names(tmp_path) == ["home.new", "home.old"]
    monkeypatch.undo()
    if again:
        with pytest.raises(ConflictError):
            new_key_and_request(home, "home-1c")
    assert Identity.load(home).ven_name == "home-1b"
    assert names(tmp_path) == ["home", "home.old"]


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    for allowed in (False, True):
        with pytest.raises(ConflictError, match="something else"):
            new_key_and_request(tmp_path, "home-1", replace=allowed)
    assert names(tmp_path) == ["diary.txt"]


def test_damaged_identities_say_what_to_do(tmp_path, authority):
    enrol(authority, tmp_path / "other")
    home = tmp_path / "home"
    enrol(authority, home)
    whole = {path: path.read_text() for path in home.iterdir()}
    for name, content, error in (
        ("vtn.json", "[" * 100_000, InvalidError),
        ("vtn.json", "[]", InvalidError),
        ("vtn.json", "{}", InvalidError),
        ("cert.pem", "", InvalidError),
        ("cert.pem", None, NotFoundError),
        ("key.pem", (tmp_path / "other/key.pem").read_text(), InvalidError),
        ("key.pem", "junk", InvalidError),
        ("key.pem", None, NotFoundError),
        ("ca.pem", "junk", InvalidError),
    ):
        path = home / name
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        with pytest.raises(error):
            Identity.load(home)
        path.write_text(whole[path])
        path.chmod(0o600)
    Identity.load(home)
    (home / "key.pem").chmod(0o640)
    with pytest.raises(InvalidError, match="chmod 600"):
        Identity.load(home)


def test_expiry_is_announced(tmp_path, authority):
    identity = enrol(authority, tmp_path / "home", days=365)
    end = identity.not_after
    assert identity.warning() is None
    assert identity.days_left(end - timedelta(days=10, hours=1)) == 10
    assert "in 10 days" in identity.warning(end - timedelta(days=10, hours=1))
    assert identity.warning(end - timedelta(days=10), within_days=5) is None
    assert "expired" in identity.warning(end)
    assert "clock" in identity.warning(datetime(1970, 1, 2, tzinfo=UTC))
    past = Authority.create(tmp_path / "ca", "Old CA", now=clock(days_ago=100))
    old = enrol(past, tmp_path / "old", days=10)
    assert old.days_left() < 0
    assert "evenload ven enrol" in old.warning()
