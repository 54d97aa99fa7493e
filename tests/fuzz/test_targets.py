"""The targets of the guided fuzzing take what is kept, and notice what is wrong; its mutator makes messages."""

import pytest
from fuzz.guided import corpus, kept
from fuzz.guided.decoding import Decoding
from fuzz.guided.gateway import Gateway
from fuzz.guided.mutator import Mutator
from fuzz.guided.server import Server
from lxml import etree

from openadr.v20b import decode as decoding
from openadr.v20b import names as n
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.decode import WireError, decode
from ven.engine import Engine
from vtn.services import outbox
from vtn.services.outbox import Intent
from vtn.transport.v20b.service import Vtn20b


def identity(body, most_bytes):
    return body[:most_bytes]


@pytest.fixture
def target(request):
    made = Server(kept.CERTIFICATE.read_bytes()) if request.param is Server else request.param()
    yield made
    made.close()


def test_the_kept_inputs_are_those_of_the_script():
    inputs = kept.read()
    assert {name: body for name, body in inputs.items() if not name.startswith("signed-")} == corpus.unsigned()


@pytest.mark.parametrize("target", [Decoding, Server, Gateway], indirect=True)
def test_every_target_takes_the_kept_inputs(target):
    for body in kept.read().values():
        target.take(body)


@pytest.mark.parametrize("target", [Server], indirect=True)
def test_kept_inputs_are_accepted_signatures_and_2_0a_included(target):
    inputs = kept.read()
    for name in ("signed-request-event", "a-request-event", "created-event", "update-report", "create-opt"):
        target.take(inputs[name])
    assert {code for _, code in target.answers} == {200}, target.answers
    target.take(inputs["signed-request-event"])
    assert target.answers["oadrRequestEvent", 403] == 1  # it was heard before


@pytest.mark.parametrize("target", [Decoding], indirect=True)
def test_a_reader_that_raises_what_it_must_not_is_noticed(target, monkeypatch):
    monkeypatch.setitem(decoding._READERS, n.clark("oadr:oadrPoll"), lambda message: {}[message])
    with pytest.raises(KeyError):
        target.take(kept.read()["poll"])


@pytest.mark.parametrize("target", [Server], indirect=True)
def test_a_fault_of_the_vtn_is_noticed(target, monkeypatch):
    async def fails(*_):
        raise RuntimeError("here")

    monkeypatch.setitem(target._http._vtn._handlers, decoding.decode(kept.read()["request-event"]).__class__, fails)
    with pytest.raises(AssertionError, match=r"500.*here"):
        target.take(kept.read()["request-event"])


@pytest.mark.parametrize("target", [Server], indirect=True)
def test_a_refused_message_that_changed_something_is_noticed(target, monkeypatch):
    async def changes(vtn, message, ven):
        await vtn._writer.submit(lambda tx: outbox.put(tx, ven.ven_id, Intent.REREGISTER, vtn._clock.now()))
        raise OpenADRError(Code.INVALID_ID, message.request_id)

    monkeypatch.setattr(Vtn20b, "_query", changes)
    vtn = target._http._vtn
    monkeypatch.setitem(vtn._handlers, decode(kept.read()["query"]).__class__, vtn._query)
    with pytest.raises(AssertionError, match="changed what is stored"):
        target.take(kept.read()["query"])


@pytest.mark.parametrize("target", [Gateway], indirect=True)
def test_a_gateway_that_raises_is_noticed(target, monkeypatch):
    body = kept.read()["distribute"]
    with monkeypatch.context() as fault:
        fault.setattr(Engine, "received", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            target.take(body)


def test_mutants_are_messages_more_often_than_not_and_the_same_for_a_seed():
    inputs = [*kept.read().values()]
    mutator = Mutator(inputs)
    mutants = [mutator.change(inputs[seed % len(inputs)], 8192, seed, identity) for seed in range(400)]
    assert mutants == [mutator.change(inputs[seed % len(inputs)], 8192, seed, identity) for seed in range(400)]
    assert len(set(mutants)) > 300
    for body in mutants:
        etree.fromstring(body)
    assert sum(map(readable, mutants)) > 100


def test_a_mutant_keeps_within_its_bound_and_bytes_that_are_no_xml_change_as_bytes():
    mutator = Mutator([*kept.read().values()])
    for seed in range(100):
        assert len(mutator.change(kept.read()["distribute"], 4300, seed, identity)) <= 4300
    assert mutator.change(b"<no", 10, 1, lambda body, _: body + b"!") == b"<no!"


def readable(body):
    try:
        decode(body)
    except (WireError, OpenADRError):
        return False
    return True
