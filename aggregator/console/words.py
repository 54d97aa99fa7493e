"""How the market's pages say the values of data: states of the trade, reasons of a selection ... (filter `word`)."""

from collections.abc import Mapping
from typing import Final

from web.pages.translations import N_

WORDS: Final[Mapping[str, str]] = {
    # requests, offers, activations
    "received": N_("received"),
    "offered": N_("offered"),
    "declined": N_("declined"),
    "expired": N_("expired"),
    "open": N_("open"),
    "accepted": N_("accepted"),
    "revoked": N_("revoked"),
    "scheduled": N_("scheduled"),
    "notified": N_("notified"),
    # why VENs were selected or not
    "called": N_("called"),
    "reserve": N_("reserve"),
    "cheaper alternatives": N_("cheaper alternatives"),
    "turn of others": N_("turn of others"),
    "stale potential": N_("stale potential"),
    "no potential": N_("no potential"),
    "not measured": N_("not measured"),
    "outside window": N_("outside window"),
    "limit reached": N_("limit reached"),
    "resting": N_("resting"),
    "in another event": N_("in another event"),
    "feeder cap": N_("feeder cap"),
    "in the control group": N_("in the control group"),
    "lp": N_("linear programming"),
    "greedy": N_("merit order"),
    "unknown": N_("unknown"),
    # from nameplate to offer
    "nameplate": N_("nameplate"),
    "in window": N_("in window"),
    "not fatigued": N_("not fatigued"),
    "not opted out": N_("not opted out"),
    "x reliability": N_("\N{MULTIPLICATION SIGN} reliability"),
    "offer": N_("offer"),
    # a VEN in a dispatch, and what happens to it
    "opted in": N_("opted in"),
    "opted out": N_("opted out"),
    "not sent yet": N_("not sent yet"),
    "no answer wanted": N_("no answer wanted"),
    "released": N_("released"),
    "order": N_("order"),
    "message": N_("message"),
    "answer": N_("answer"),
    "change": N_("change"),
    "intervention": N_("intervention"),
    "call": N_("call"),
    "replace": N_("replace"),
    "release": N_("release"),
    # what differs between two results
    "Ordered energy": N_("Ordered energy"),
    "Delivered energy": N_("Delivered energy"),
    "Performance": N_("Performance"),
    "Capped performance": N_("Capped performance"),
    "Participation": N_("Participation"),
    "Opt-outs": N_("Opt-outs"),
    "Answers": N_("Answers"),
    # days of a baseline, and its adjustment
    "kept": N_("used"),
    # what looks odd about a VEN in an event
    "raised_before": N_("It used more than usual just before the event."),
    "lowered_before": N_("It used less than usual just before the event."),
    # sources of readings
    "settlement meter": N_("settlement meter"),
    "VEN register": N_("VEN: energy"),
    "VEN power": N_("VEN: power"),
    "estimate": N_("estimate"),
    "eligible, not among the kept": N_("eligible, not used"),
    "event day": N_("event day"),
    "outage": N_("outage"),
    "missing data": N_("missing data"),
    "not a like day": N_("not a similar day"),
    "no temperature": N_("no temperature"),
    "the rule has none": N_("none in this preset"),
    "applied": N_("applied"),
    "applied, window moved before the notice": N_("applied; its window was moved to before the notice"),
    "not applied: no window before the notice, or shorter than the readings' step": N_(
        "not applied, since there is no window before the notice, or it is shorter than the interval of the readings"
    ),
    "not applied: too few readings in the window": N_("not applied, since there are too few readings in the window"),
    "by the usual load alone: nothing was nominated in time": N_(
        "by the usual load alone: nothing was nominated in time"
    ),
    "by time of week alone: the temperatures do not reach": N_("by time of week alone, since temperatures are missing"),
    # tariffs
    "network": N_("network"),
    "electricity": N_("electricity"),
    "rest": N_("REST API"),
    "fetch": N_("fetched"),
    "console": N_("console"),
}
