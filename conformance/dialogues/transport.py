"""HTTP as a VEN may use it, and as it may not."""

import socket
from types import MappingProxyType
from typing import Final

from conformance import damage
from conformance import templates as t
from conformance.stage import Stage


def transport(stage: Stage) -> None:
    """Ask at addresses, with methods, headers and bodies of all kinds."""
    ven = stage.ven("a")
    base = stage.access.path
    message = t.request_event(ven.ven_id, stage.token())
    ven.post("address:escaped", message, path=f"{base}/%45iEvent")
    ven.post("address:dot segments", message, path=f"{base}/../2.0b/./EiEvent")
    ven.post("service:unknown", message, service="EiNothing")
    for method in ("GET", "PUT", "DELETE"):
        ven.post(f"method:{method}", message, method=method)
    ven.post("type:json", message, headers=(("Content-Type", "application/json"),))
    ven.post("type:charset", message, headers=(("Content-Type", "application/xml; charset=utf-8"),))
    ven.post("type:latin", message, headers=(("Content-Type", "application/xml; charset=iso-8859-1"),))
    ven.post("valid", message)
    ven.post("refused in OpenADR", t.request_event("no such VEN", stage.token()))
    ven.post("broken", damage.truncated(message))
    ven.post("accepts gzip", message, headers=(("Accept-Encoding", "gzip"),))
    ven.post("accepts xml", message, headers=(("Accept", "application/xml"),))
    for agent in ("", "Mozilla/5.0 (X11; Linux x86_64)", "x" * 200):
        ven.post("agent", message, headers=(("User-Agent", agent),))
    name = "Haus Größe 电 ⚡"
    ven.post("name beyond ASCII", ven.again(name=name))


def repeated(stage: Stage) -> None:
    """Send each message twice, byte for byte: a VEN does so when an answer was lost."""
    ven = stage.ven("a")
    messages = (
        t.query(stage.token()),
        ven.again(),
        t.register_report(ven.ven_id, [t.usage_offer()], stage.token()),
        t.request_event(ven.ven_id, stage.token()),
        t.create_opt(ven.ven_id, stage.token(), request_id=stage.token()),
    )
    for message in messages:
        for _ in range(2):
            ven.post(f"twice:{message.name}", message)


def never_called(stage: Stage) -> None:
    """Register in pull mode with an address, have an event, and see whether anybody calls there."""
    ven = stage.ven("a")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/OpenADR2/Simple/2.0b"
        ven.post("with an address", ven.again(address=address))
        stage.event([ven], starts_in=60)
        listener.settimeout(stage.pace_s / stage.timeline.speed)
        try:
            listener.accept()[0].close()
        except TimeoutError:
            stage.fact("called", value=False)
        else:
            stage.fact("called", value=True)


DIALOGUES: Final = MappingProxyType({"transport": transport, "repeated": repeated, "never called": never_called})
