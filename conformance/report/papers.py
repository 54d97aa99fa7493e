"""Where what came of a run goes: standard output, files, and a directory with all messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from conformance import record
from conformance.exchange import Transcript
from conformance.report import files, page, table
from conformance.report.summary import Summary
from core.errors import InvalidError, UnavailableError

_WIDE: Final = 180


@dataclass(frozen=True, slots=True)
class Papers:
    """What people asked to have written, and whether all rules are listed."""

    record_to: Path | None
    every: bool
    junit: Path | None
    json: Path | None
    html: Path | None

    def check(self) -> None:
        """See, before anything is played, that all can be written. Raises InvalidError."""
        need_places(self.junit, self.json, self.html)
        if self.record_to is not None:
            record.check(self.record_to)

    @contextmanager
    def recording(self, transcripts: Sequence[Transcript]) -> Iterator[None]:
        """Keep what has been played, also where the run is interrupted. Raises UnavailableError."""
        try:
            yield
        except KeyboardInterrupt:
            kept = f"; what was played is in {self.record_to}" if self.record_to and transcripts else ""
            typer.echo(f"evenload: interrupted{kept}", err=True)
            raise
        finally:
            if self.record_to is not None and any(transcript.exchanges for transcript in transcripts):
                record.save(self.record_to, transcripts)

    def show(self, run: Summary) -> None:
        """Print the table and write the files. Raises UnavailableError."""
        table.show(run, console(), every=self.every)
        for path, text in ((self.junit, files.as_junit), (self.json, files.as_json), (self.html, page.as_html)):
            if path is not None:
                write(path, text(run))


def console() -> Console:
    """Return standard output; where it is no terminal, lines may be long."""
    output = Console()
    return output if output.is_terminal else Console(width=_WIDE)


def need_places(*paths: Path | None) -> None:
    """See that files can be written. Raises InvalidError."""
    for path in filter(None, paths):
        was_there = path.exists()
        try:
            path.open("ab").close()
            if not was_there:
                path.unlink()
        except OSError as error:
            raise InvalidError(f"{path} cannot be written: {error.strerror}.") from error


def write(path: Path, text: str) -> None:
    """Write a file. Raises UnavailableError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}.") from error
