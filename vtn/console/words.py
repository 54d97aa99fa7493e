"""How pages say the values of data: states, directions, roles ... (filter `word`)."""

from collections.abc import Mapping
from typing import Final

from web.pages.translations import N_

WORDS: Final[Mapping[str, str]] = {
    # directions
    "reduce": N_("reduce"),
    "increase": N_("increase"),
    "signal": N_("signal"),
    # why nothing is known of how far a baseline errs
    "too little history": N_("too little history"),
    "too few temperatures": N_("too few temperatures"),
    "nothing agreed": N_("nothing agreed"),
    "no control group": N_("no control group"),
    "nothing nominated for days past": N_("nothing nominated for days past"),
    # presence of VENs
    "online": N_("online"),
    "stale": N_("stale"),
    "offline": N_("offline"),
    "unreachable": N_("unreachable"),
    # states of events
    "none": N_("none"),
    "far": N_("upcoming"),
    "near": N_("starting soon"),
    "active": N_("active"),
    "completed": N_("completed"),
    "cancelled": N_("cancelled"),
    # opts
    "optIn": N_("opted in"),
    "optOut": N_("opted out"),
    "no answer": N_("no answer"),
    # reasons of opts
    "economic": N_("economic reasons"),
    "emergency": N_("emergency"),
    "mustRun": N_("must run"),
    "notParticipating": N_("not participating"),
    "outageRunStatus": N_("outage"),
    "overrideStatus": N_("overridden on site"),
    "participating": N_("participating"),
    "x-schedule": N_("schedule"),
    "always": N_("always"),
    "never": N_("never"),
    # messages for VENs, and their states
    "events_changed": N_("Events"),
    "reports_offered": N_("Report registration"),
    "report_wanted": N_("Report request"),
    "report_unwanted": N_("Report cancellation"),
    "report_due": N_("Report data"),
    "reregister": N_("Re-registration request"),
    "unregister": N_("Registration cancellation"),
    "pending": N_("pending"),
    "sent": N_("sent"),
    "done": N_("done"),
    "dead": N_("given up"),
    # report requests
    "queued": N_("queued"),
    "unanswered": N_("unanswered"),
    "refused": N_("refused"),
    # what XML signatures mean
    "required": N_("required"),
    "when_present": N_("checked when present"),
    "off": N_("not checked"),
    # roles
    "viewer": N_("viewer"),
    "dispatcher": N_("dispatcher"),
    "admin": N_("admin"),
    "household": N_("household"),
    "brp": N_("BRP"),
    # quantities, and how a value stands for its interval
    "power_real": N_("real power"),
    "power_reactive": N_("reactive power"),
    "power_apparent": N_("apparent power"),
    "energy_real": N_("real energy"),
    "energy_reactive": N_("reactive energy"),
    "energy_apparent": N_("apparent energy"),
    "voltage": N_("voltage"),
    "current": N_("current"),
    "frequency": N_("frequency"),
    "temperature": N_("temperature"),
    "heat_power": N_("heat power"),
    "heat_energy": N_("heat"),
    "volume": N_("volume"),
    "volume_flow": N_("flow"),
    "charge": N_("state of charge"),
    "state": N_("state"),
    "pulses": N_("pulses"),
    "count": N_("count"),
    "instant": N_("instant"),
    "mean": N_("mean"),
    "sum": N_("sum"),
    "register": N_("meter register"),
    "import": N_("import"),
    "export": N_("export"),
    "net": N_("net"),
}
