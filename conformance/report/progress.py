"""How far a run has come, on standard error: a line that changes, or lines where there is no terminal."""

from typing import Self

from rich import progress
from rich.console import Console
from rich.text import Text


class Progress:
    """A run of so many steps. Use as a context manager."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True)
        self._bar = progress.Progress(console=self._console, transient=True)
        self._task = self._bar.add_task("", total=total)
        self._begun = 0
        self._name = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Say something that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def begin(self, name: str) -> None:
        """Say that the next step begins."""
        self.reach(self._begun, name)
        self._begun += 1

    def reach(self, steps: float, name: str) -> None:
        """Say how many steps are done, and what is being done."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=name, completed=steps)
        elif name != self._name:
            self.say(f"... {name}")
        self._name = name
