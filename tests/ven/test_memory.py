"""The engine stands on any memory that keeps its promises: one in dictionaries does for it what the store does."""

from contextlib import contextmanager
from datetime import timedelta

import pytest

from core.errors import UnavailableError
from openadr.model.opt import OptType
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CancelReport,
    CreateReport,
    DistributeEvent,
    Response,
)
from ven.engine import Phase
from ven.memory import Fault, Memory, Waiting
from ven.store import Store


class Notebook:
    """A memory without a disk. `torn`: it takes nothing."""

    def __init__(self):
        self.torn = False
        self.pages = {name: {} for name in ("facts", "events", "opts", "tasks", "outbox", "dead", "faults", "refusals")}
        self.last_seq = 0

    @contextmanager
    def transaction(self):
        if self.torn:
            raise UnavailableError("torn")
        before = {name: dict(page) for name, page in self.pages.items()}
        try:
            yield
        except BaseException:
            self.pages = before
            raise

    def put(self, page, key, value):
        with self.transaction():
            self.pages[page][key] = value

    def drop(self, page, *keys):
        with self.transaction():
            for key in keys or list(self.pages[page]):
                self.pages[page].pop(key, None)

    def drop_unreadable(self, now):
        """Nothing here was ever written down."""

    def erase_relation(self):
        for page in ("events", "opts", "tasks", "outbox", "dead"):
            self.drop(page)
        self.drop("facts", "registration", "offers")

    def fact(self, name):
        return self.pages["facts"].get(name)

    def set_fact(self, name, value):
        self.drop("facts", name) if value is None else self.put("facts", name, value)

    def registration(self):
        return self.fact("registration")

    def set_registration(self, registration):
        self.set_fact("registration", registration)

    def events(self):
        return [known for _, (known, _) in sorted(self.pages["events"].items())]

    def event(self, event_id):
        return self.pages["events"].get(event_id, (None,))[0]

    def put_event(self, known, kept_until=None):
        self.put("events", known.event.event_id, (known, kept_until))

    def forget_events(self, *, before=None):
        rows = self.pages["events"].items()
        old = [name for name, (_, until) in rows if before is None or (until is not None and until < before)]
        if old:
            self.drop("events", *old)

    def trim_events(self, kept_until, most_bytes):
        """A test has no thousands of events."""

    def opts(self):
        return list(self.pages["opts"].values())

    def put_opt(self, opt):
        self.put("opts", opt.opt_id, opt)

    def drop_opt(self, opt_id):
        self.drop("opts", opt_id)

    def report_tasks(self):
        return [task for _, task in sorted(self.pages["tasks"].items())]

    def report_task_count(self):
        return len(self.pages["tasks"])

    def report_task(self, request_id):
        return self.pages["tasks"].get(request_id)

    def put_report_task(self, task):
        self.put("tasks", task.id, task)

    def drop_report_task(self, request_id):
        self.drop("tasks", request_id)

    def push(self, message):
        self.last_seq += 1
        self.put("outbox", self.last_seq, (message, 0))

    def waiting_seqs(self):
        return sorted(self.pages["outbox"])

    def waiting(self, seq):
        return Waiting(seq, *self.pages["outbox"][seq])

    def tried(self, seq):
        message, tries = self.pages["outbox"][seq]
        self.put("outbox", seq, (message, tries + 1))

    def done(self, seq):
        self.drop("outbox", seq)

    def bury(self, seq, reason):
        self.put("dead", seq, reason)
        self.drop("outbox", seq)

    def drop_waiting(self):
        self.drop("outbox")

    def note_fault(self, kind, key, reason, now, *, ended=False):
        old = self.pages["faults"].get((kind, key))
        count, ends = (old.count, old.ends) if old else (0, 0)
        fault = Fault(kind, key, count + 1, ends + ended, reason, now)
        self.put("faults", (kind, key), fault)
        return fault

    def faults(self):
        return sorted(self.pages["faults"].values(), key=lambda fault: fault.last)

    def note_refusal(self, message, code, reason, now):
        self.put("refusals", (message, code), (reason, now))


def names(messages):
    return [type(message).__name__ for message in messages]


def story(bench, memory: Memory, event, request_for):
    """Let a VEN register, report, take part, opt out and be unregistered; return what it said and remembered."""
    bench.meter(bench.now, bench.now + timedelta(hours=1))
    bench.register()
    bench.poll(CreateReport("cr", (request_for("TELEMETRY_USAGE", "home/energy"),), "ven-1"))
    bench.deliver(event("a"), event("b", modification=1))
    bench.poll(DistributeEvent("vtn", "d2", (), Response()))
    bench.deliver(event("c"))
    bench.engine.opt("c", OptType.OUT, "economic", bench.now)
    bench.after(minutes=3)
    bench.poll(CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-1"))
    remembered = [
        [(known.event.event_id, known.opt, known.stop_at, known.by_hand) for known in memory.events()],
        [task.id for task in memory.report_tasks()],
        memory.registration(),
    ]
    bench.poll(CancelPartyRegistration("q", "reg-1", "ven-1"))
    assert isinstance(bench.next(), CanceledPartyRegistration)
    bench.hear(None)
    assert (memory.events(), memory.registration(), bench.engine.phase) == ([], None, Phase.OVER)
    return names(bench.said), remembered


def test_another_memory_serves_as_well(household, benches, event, request_for):
    store, notebook = Store(None), Notebook()
    on_disk = story(benches(household, store), store, event, request_for)
    in_mind = story(benches(household, memory=notebook), notebook, event, request_for)
    assert in_mind == on_disk


def test_what_the_memory_does_not_take_is_not_answered(household, benches, event):
    notebook = Notebook()
    bench = benches(household, memory=notebook).register()
    bench.poll_under_way()
    notebook.torn = True
    with pytest.raises(UnavailableError):
        bench.hear(DistributeEvent("vtn", "d", (), Response()))
    notebook.torn = False
    bench.engine.start(bench.now)
    assert (notebook.waiting_seqs(), bench.engine.phase) == ([], Phase.SERVING)
