"""Writes the kept inputs: messages of each kind, from the conformance kit's templates and our encoder.

    PYTHONPATH=.:tests python -m fuzz.guided.corpus

writes them anew, after a change of the templates or of what the VTN under test has stored, whose ids they have. The
signed ones then get another key, which is thrown away.
"""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

from fuzz.gateway_world import NOON, RESOURCES
from fuzz.guided import detailed
from fuzz.guided.decoding import SIGNED_AT
from fuzz.guided.kept import CERTIFICATE, FOLDER
from fuzz.guided.server import Server

from certs.authority import Authority
from certs.kinds import KeyType
from conformance import templates as ven
from conformance.vens import messages as vtn
from openadr.signature.sign import Signer
from openadr.v20b import messages as m
from openadr.v20b.encode import encode

_CONTEXT: Final = "http://example.com/dr"
_SIGNED: Final = "signed"


def unsigned() -> dict[str, bytes]:
    """Return the inputs that are the same each time, by their names."""
    server = Server()
    try:
        kit = _of_vens(server) | _of_vtns() | _of_2_0a(server)
        return kit | detailed.of_a_vtn() | detailed.of_a_ven(server.ven.ven_id, server.requests[0].request_id)
    finally:
        server.close()


def _of_vens(server: Server) -> dict[str, bytes]:
    """Return what a VEN of the VTN under test may say."""
    ven_id, registration_id = server.ven.ven_id, server.ven.registration_id or ""
    event = server.events[0].event
    request_id = server.requests[0].request_id
    report = ven.data(request_id, r_id="meter", start="2026-01-12T11:58:00Z", values=(1.5, -2.0))
    messages = {
        "query": ven.query(),
        "register": ven.register(ven_id=ven_id, registration_id=registration_id),
        "register-push": ven.register(pull=False, address="https://ven.example/"),
        "cancel-registration": ven.cancel_registration(ven_id, registration_id),
        "canceled-registration": ven.canceled_registration(ven_id, registration_id, "c"),
        "response": ven.response(ven_id),
        "response-refusal": ven.response(ven_id, code=452),
        "poll": ven.poll(ven_id),
        "request-event": ven.request_event(ven_id, reply_limit=2),
        "created-event": ven.created_event(ven_id, [ven.EventAnswer(event.event_id, 0)]),
        "created-event-several": ven.created_event(
            ven_id, [ven.EventAnswer(event.event_id, 0, opt="optOut"), ven.EventAnswer("other", 1, code=452)]
        ),
        "create-opt": ven.create_opt(ven_id, market_context=_CONTEXT, resources=["meter"]),
        "create-opt-event": ven.create_opt(ven_id, "o2", available=None, event=(event.event_id, 0)),
        "cancel-opt": ven.cancel_opt(ven_id, "opt"),
        "register-report": ven.register_report(ven_id, [ven.usage_offer("usage", "meter", "meter")]),
        "register-report-none": ven.register_report(ven_id),
        "registered-report": ven.registered_report(ven_id, "m"),
        "create-report": ven.create_report(ven_id),
        "created-report": ven.created_report(ven_id, "cr", [request_id]),
        "canceled-report": ven.canceled_report(ven_id, "ca"),
        "update-report": ven.update_report(ven_id, [report]),
        "update-report-several": ven.update_report(ven_id, [report, report]),
        "cancel-report": ven.cancel_report(ven_id, [request_id]),
    }
    return {name: message.body for name, message in messages.items()}


def _of_vtns() -> dict[str, bytes]:
    """Return what a VTN of the gateway under test may say."""
    soon = NOON + timedelta(minutes=10)
    load = vtn.Signal("LOAD_DISPATCH", "delta", ((900, -500.0), (900, 0.0)))
    events = [
        vtn.Event("e1", soon, _CONTEXT),
        vtn.Event("e2", NOON, _CONTEXT, status="active", signals=(load, vtn.Signal()), extra=vtn.startafter("PT5M")),
    ]
    cancelled = vtn.Event("e1", soon, _CONTEXT, modification=1, status="cancelled", comment="no more", test="false")
    energies = tuple(f"{resource.resource}/energy" for resource in RESOURCES)
    wants = [
        vtn.Want("r1", "TELEMETRY_USAGE", energies[:2], "PT1M", "PT1M"),
        vtn.Want("r2", "HISTORY_USAGE", energies[:1], "PT1M", "PT1M", NOON - timedelta(hours=1), "PT1H"),
    ]
    messages = {
        "distribute": vtn.distribute_event(events, "d", NOON, vtn_id="vtn"),
        "distribute-cancelled": vtn.distribute_event([cancelled], "d", NOON, vtn_id="vtn", answers=True),
        "distribute-nothing": ven.distribute_event(),
        "created-registration": vtn.created_registration("r", 10, "ven-1", "reg-1"),
        "reregistration": ven.request_reregistration("ven-1"),
        "vtn-response": vtn.response("", "ven-1"),
        "vtn-create-report": vtn.create_report("ven-1", wants, "c"),
        "vtn-registered-report": vtn.registered_report("ven-1", "m", wants[:1]),
        "updated-report": vtn.updated_report("ven-1", "u", cancelled="r1"),
        "vtn-cancel-report": ven.cancel_report("ven-1", ["r1"]),
        "vtn-cancel-registration": ven.cancel_registration("ven-1", "reg-1"),
        "created-opt": vtn.created_opt("o", "opt"),
        "canceled-opt": vtn.canceled_opt("x", "opt"),
    }
    return {name: message.body for name, message in messages.items()}


def _of_2_0a(server: Server) -> dict[str, bytes]:
    """Return the two messages of a 2.0a VEN: 2.0b's without envelope, in a namespace of their own."""
    event_id = server.events[0].event.event_id
    messages = {
        "a-request-event": ven.request_event(server.ven.ven_id),
        "a-created-event": ven.created_event(server.ven.ven_id, [ven.EventAnswer(event_id, 0)]),
    }
    return {name: _unwrapped(message) for name, message in messages.items()}


def _unwrapped(message: ven.Message) -> bytes:
    head, _, rest = message.body.partition(b"<oadr:oadrPayload ")
    declared, _, rest = rest.partition(b"><oadr:oadrSignedObject>")
    content = rest.partition(b"</oadr:oadrSignedObject>")[0].replace(b' ei:schemaVersion="2.0b"', b"", 1)
    name = message.name.encode()
    opened = content.replace(b"<oadr:" + name, b"<oadr:" + name + b" " + declared, 1)
    return head + opened.replace(b"oadr-2.0b/2012/07", b"oadr-2.0a/2012/07")


def _signed(ven_id: str) -> tuple[str, dict[str, bytes]]:
    """Return the certificate (PEM) of a new key, and messages that it signed."""
    with tempfile.TemporaryDirectory() as folder:
        issued = Authority.create(Path(folder) / "ca", "Fuzz", now=lambda: SIGNED_AT).issue_client(
            "signer", key_type=KeyType.EC, days=365
        )
    assert issued.key_pem is not None
    leaf, end, _ = issued.chain_pem.partition("-----END CERTIFICATE-----")
    signer = Signer(issued.key_pem.encode(), issued.chain_pem.encode())
    messages = {"poll": m.Poll(ven_id), "query": m.QueryRegistration("q"), "request-event": m.RequestEvent(ven_id, "e")}
    return f"{leaf}{end}\n", {
        f"{_SIGNED}-{name}": encode(
            message, sign=lambda body, nonce=name: signer.sign(body, SIGNED_AT, f"nonce-of-{nonce}")
        )
        for name, message in messages.items()
    }


def write() -> None:
    """Write all inputs anew."""
    server = Server()
    certificate, signed = _signed(server.ven.ven_id)
    server.close()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.xml"):
        old.unlink()
    for name, body in (unsigned() | signed).items():
        (FOLDER / f"{name}.xml").write_bytes(body)
    CERTIFICATE.write_text(certificate)


if __name__ == "__main__":
    write()
