"""What a device does by its user's will, told apart from what it fell into after a power cut.

A relay that had no power comes back in its maker's position. Where an order reaches it soon after, that position is not
what it shall be given back: nobody chose it. So the last state that somebody chose is kept, also on disk, and stands
for the device until what it fell into has been changed by someone, or has been left alone for `LEFT_ALONE`.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from bridges.device import Value, same

LEFT_ALONE: Final = timedelta(minutes=15)
"""A state that a device fell into and that nobody changes for so long is accepted as its own."""
REMEMBERED: Final = timedelta(hours=1)
"""After a longer absence than this nobody knows what happened meanwhile: what the device says then is its own."""
_NOTED_EVERY: Final = timedelta(minutes=10)
_MOST_NOTED: Final = 4
_MOST_NOTED_IN: Final = timedelta(minutes=1)
"""However often a device changes, or somebody speaks in its name, the disk hears of it no more often."""
_NEVER: Final = timedelta(days=-100_000)


@dataclass(slots=True)
class OwnState:
    """The state that somebody chose, as far as it is known; all times are `Clock.elapsed`.

    `chosen` was last seen at `seen`; `on_disk` is what lies there, `noted` when it last was put there. `fallen` is what
    the device came up with after it, our link or we ourselves began at `since`; until its first word after that it is
    `silent`.
    """

    chosen: Value | None = None
    seen: timedelta = _NEVER
    on_disk: Value | None = None
    noted: list[timedelta] = field(default_factory=list)
    fallen: Value | None = None
    since: timedelta = _NEVER
    silent: bool = False

    def began(self, now: timedelta) -> None:
        """Take notice that the device, the link or we ourselves are back."""
        if self.fallen is not None and now - self.since >= LEFT_ALONE:
            self.chosen, self.seen = self.fallen, self.since
        self.since, self.fallen, self.silent = now, None, True

    def hear(self, value: Value, now: timedelta, *, own: bool) -> bool:
        """Take the device's word while nothing of ours is on it; tell whether it should be put on disk.

        `own`: whether it can be somebody's choice; not so what a device says right after its start, or said before we
        knew of that. A second word that differs from the first is a change, and somebody's choice in any case.
        """
        first, self.silent = self.silent, False
        is_known = self.chosen is None or same(value, self.chosen)
        new = now - self.since < LEFT_ALONE
        fell = first and not own if self.fallen is None else new and same(value, self.fallen)
        if fell and not is_known:
            self.fallen = value
            return False
        return self.choose(value, now)

    def choose(self, value: Value, now: timedelta) -> bool:
        """Take a state as chosen; tell whether it should be put on disk."""
        self.chosen, self.seen, self.fallen = value, now, None
        is_old = self.on_disk is not None and same(value, self.on_disk) and now - self.noted[-1] < _NOTED_EVERY
        if is_old or (len(self.noted) == _MOST_NOTED and now - self.noted[0] < _MOST_NOTED_IN):
            return False
        self.on_disk, self.noted = value, [*self.noted, now][-_MOST_NOTED:]
        return True

    def instead_of(self, state: Value | None, now: timedelta) -> Value | None:
        """Return what counts as the device's state where it shows `state`."""
        recent = now - self.since < LEFT_ALONE and self.since - self.seen < REMEMBERED
        unchosen = state is None or self.silent or (self.fallen is not None and same(state, self.fallen))
        return self.chosen if recent and unchosen and self.chosen is not None else state
