"""The gateway's certificate: renewed in time, with patience, and never at the price of the one that works."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest

from certs.authority import Authority
from certs.provisioning import Identity, new_key_and_request, store_bundle
from core.clock import machine_now
from core.errors import ForbiddenError, InvalidError, UnavailableError
from openadr.fingerprint import fingerprint_of_pem
from ven import renewal


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "authority", "CA")


def bundle(authority, request, ven_id="ven-1", days=90):
    certificate = authority.sign_request(request, ven_id, days=days).chain_pem
    names = {
        "ven_id": ven_id,
        "ven_name": "home",
        "vtn_id": "vtn",
        "vtn_url": "https://vtn.example/OpenADR2/Simple/2.0b",
    }
    fingerprint = fingerprint_of_pem(certificate.encode())
    return names | {"certificate": certificate, "ca": authority.ca_pem, "fingerprint": fingerprint}


@pytest.fixture
def household(authority, tmp_path):
    place = tmp_path / "identity"
    store_bundle(place, bundle(authority, new_key_and_request(place, "home", "rsa")))
    vtn = SimpleNamespace(url=None, check_hostname=True)
    return SimpleNamespace(identity=place, vtn=vtn)


def test_a_new_key_and_certificate_take_the_place_of_the_old_ones(household, authority, monkeypatch):
    asked = []

    def post(url, csr, _):
        asked.append(url)
        return bundle(authority, csr)

    monkeypatch.setattr(renewal, "_post", post)
    old = Identity.load(household.identity)
    key = old.key_path.read_text()
    new = renewal.renew(household, old)
    assert asked == ["https://vtn.example/evenload/renewal"]
    assert new == Identity.load(household.identity)
    assert new.fingerprint != old.fingerprint
    assert new.key_path.read_text() != key
    assert renewal.key_type_of_file(new.key_path) == "rsa"
    assert (household.identity.with_name("identity.old") / "key.pem").read_text() == key


@pytest.mark.parametrize(
    "answer",
    [UnavailableError("away"), ForbiddenError("no"), {"ven_id": "ven-2"}, {"ven_id": "ven-1"}, {}],
    ids=["away", "refused", "another VEN", "half a bundle", "nothing"],
)
def test_whatever_goes_wrong_the_identity_stays(household, monkeypatch, answer):
    def post(*_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(renewal, "_post", post)
    old = Identity.load(household.identity)
    with pytest.raises((UnavailableError, ForbiddenError, InvalidError)):
        renewal.renew(household, old)
    assert Identity.load(household.identity) == old
    assert not household.identity.with_name("identity.new").exists()


class Night:
    """Machine time that passes only while somebody sleeps; it ends after some naps."""

    def __init__(self, monkeypatch, naps):
        self.now, self.left, self.slept = machine_now(), naps, []
        monkeypatch.setattr(renewal.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError

    def __call__(self):
        return self.now


async def _watch(household, night):
    with pytest.raises(asyncio.CancelledError):
        await renewal.keep_fresh(household, night)


async def test_it_is_renewed_after_two_thirds_of_its_life(household, monkeypatch):
    identity = Identity.load(household.identity)
    night, renewed = Night(monkeypatch, 6), []
    night.now = identity.not_before + timedelta(days=59, hours=21, minutes=30)

    def renew(_, one):
        renewed.append(night.now)
        raise UnavailableError("away")

    monkeypatch.setattr(renewal, "renew", renew)
    await _watch(household, night)
    due = renewal.renew_at(identity)
    assert abs(due - (identity.not_before + timedelta(days=60))) < timedelta(hours=1)
    assert timedelta() <= renewed[0] - due < timedelta(seconds=2)


async def test_failures_are_retried_ever_more_seldom(household, monkeypatch):
    night = Night(monkeypatch, 12)
    night.now += timedelta(days=61)

    def renew(*_):
        raise UnavailableError("away")

    monkeypatch.setattr(renewal, "renew", renew)
    await _watch(household, night)
    assert night.slept[:4] == [60, 120, 240, 480]
    assert night.slept[-1] == 6 * 3600


async def test_a_short_life_is_watched_closely(authority, tmp_path, monkeypatch):
    place = tmp_path / "short"
    store_bundle(place, bundle(authority, new_key_and_request(place, "home"), days=1))
    night = Night(monkeypatch, 12)
    night.now += timedelta(hours=20)
    monkeypatch.setattr(renewal, "renew", lambda *_: (_ for _ in ()).throw(UnavailableError("away")))
    await _watch(SimpleNamespace(identity=place), night)
    assert max(night.slept) <= 24 * 60


async def test_without_an_identity_it_waits(tmp_path, monkeypatch):
    night = Night(monkeypatch, 3)
    await _watch(SimpleNamespace(identity=tmp_path / "none"), night)
    assert night.slept == [60, 120, 240]
