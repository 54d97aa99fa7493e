"""The part of pytest that opens the tap, and judges at the end of the session what came out (see `wire_tap.py`)."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from support import wire_tap

_DIRECTORY = pytest.StashKey[Path]()
_VERDICT = pytest.StashKey[wire_tap.Verdict]()
_MOST_SHOWN = 10


def pytest_configure(config: pytest.Config) -> None:
    """Open the tap here and for every child process; the workers of pytest-xdist find it open."""
    if not hasattr(config, "workerinput"):
        directory = config.stash[_DIRECTORY] = Path(tempfile.mkdtemp(prefix="evenload-tap-"))
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{wire_tap.TAPPED}{os.pathsep}{known}" if known else str(wire_tap.TAPPED)
        os.environ[wire_tap.VARIABLE] = str(directory)
    wire_tap.start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session for an invalid message of ours, and a whole one also for a type that has not occurred."""
    directory = session.config.stash.get(_DIRECTORY, None)
    if directory is None:
        return
    verdict = session.config.stash[_VERDICT] = wire_tap.judge(directory)
    if session.exitstatus == pytest.ExitCode.OK and (verdict.faults or (verdict.missing and is_whole(session.config))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if not verdict.faults:
        shutil.rmtree(directory, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what went over the sockets, and what is wrong with it."""
    verdict = config.stash.get(_VERDICT, None)
    if verdict is None or not (verdict.counts or verdict.faults or is_whole(config)):
        return
    for fault in verdict.faults[:_MOST_SHOWN]:
        terminalreporter.write_line(f"INVALID {fault}", red=True)
    if verdict.faults:
        terminalreporter.write_line(f"All of it lies in {config.stash[_DIRECTORY]}", red=True)
    if verdict.missing and is_whole(config):
        terminalreporter.write_line(f"These messages never occurred: {', '.join(verdict.missing)}", red=True)
    terminalreporter.write_line(str(verdict))


def is_whole(config: pytest.Config) -> bool:
    """Whether this session runs all tests: no selection of any kind."""
    selections = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "collectonly", "lf", "stepwise")
    if any(config.getoption(name, None) for name in selections):
        return False
    chosen = {(config.invocation_params.dir / one).resolve() for one in config.args}
    return chosen == {(config.rootpath / "tests").resolve()}
