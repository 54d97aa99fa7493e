"""What foreign texts can do to our log: nothing."""

import json
import logging
import subprocess
import sys

from evenload.logs import bounded

ESCAPES = "\x1b[2J\x1b]0;owned\x07 \u202eevil\u2028 \r\nfake line"


def line(**values):
    return bounded(None, "info", {"event": "said", **values})


def test_a_line_holds_two_kilobytes_of_foreign_text_at_most():
    told = line(**{f"text{number}": "x" * 50_000 for number in range(20)})
    assert len("".join(map(str, told.values()))) < 2200
    assert told["event"] == "said"
    assert len(line(why=["x" * 50_000])["why"]) < 1100


def test_what_a_terminal_would_obey_is_shown_and_not_sent():
    told = line(why=ESCAPES, names=[ESCAPES], error=ValueError(ESCAPES))
    assert all(str(value).isprintable() for value in told.values())
    assert "\\x1b[2J" in told["why"]


def test_a_trace_keeps_its_lines_but_not_what_they_quote():
    told = line(exception=f"Traceback:\n  {ESCAPES}\nValueError: {'x' * 50_000}")
    rows = told["exception"].split("\n")
    assert rows[0] == "Traceback:"
    assert all(row.isprintable() and len(row) < 1100 for row in rows)


def test_numbers_and_short_lists_stay_what_they_are():
    assert line(count=3, share=0.5, on=True, none=None, names=["a"]) == {
        "event": "said", "count": 3, "share": 0.5, "on": True, "none": None, "names": ["a"],
    }  # fmt: skip


def test_no_escape_sequence_reaches_the_terminal():
    """On a terminal and off it, from our own lines and from a library's."""
    code = """
import logging, sys, structlog
class Terminal:
    def __init__(self, to): self.to = to
    def isatty(self): return True
    def write(self, text): return self.to.write(text)
    def flush(self): self.to.flush()
if sys.argv[1] == "terminal": sys.stderr = Terminal(sys.stderr)
from evenload.logs import configure_logs
configure_logs()
text = "\\x1b[2J\\x1b]0;owned\\x07"
structlog.get_logger().warning("said", why=text, names=[text])
try: raise ValueError(text)
except ValueError: structlog.get_logger().exception("failed")
logging.getLogger("library").warning("heard %s", text)
"""
    for where in ("terminal", "pipe"):
        out = subprocess.run([sys.executable, "-c", code, where], capture_output=True, check=True).stderr.decode()
        assert "[2J" in out
        assert "\x1b[2J" not in out
        assert "\x1b]0" not in out
        assert "\x07" not in out
        if where == "pipe":
            assert [json.loads(row)["level"] for row in out.splitlines()] == ["warning", "error", "warning"]
    assert logging.getLogger("library").handlers == []


def test_whoever_logs_goes_on_where_standard_error_takes_nothing(tmp_path):
    """A file on a full disk, here one that must not grow; none at all; and a reader that has gone."""
    code = """
import logging, resource, sys, structlog
from evenload.logs import configure_logs
configure_logs()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
structlog.get_logger().warning("lost")
logging.getLogger("library").warning("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
structlog.get_logger().warning("heard again")
print("went on", flush=True)
"""
    log = tmp_path / "log"
    with log.open("w") as file:
        full = subprocess.run([sys.executable, "-c", code, "0"], stdout=subprocess.PIPE, stderr=file, check=True)
    assert full.stdout == b"went on\n"
    assert "heard again" in log.read_text()
    closed = ["sh", "-c", 'exec "$0" -c "$1" -1 2>&-', sys.executable, code]
    assert subprocess.run(closed, stdout=subprocess.PIPE, check=True).stdout == b"went on\n"
    gone = subprocess.Popen([sys.executable, "-c", code, "-1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with gone:
        gone.stderr.close()
        assert gone.stdout.read() == b"went on\n"
        assert gone.wait(20) == 0


def test_logs_need_no_rich():
    """It is there for tables; a gateway has none, and its memory is small."""
    look = "import sys, evenload.logs; assert 'rich' not in sys.modules; import rich.table, structlog; print('fine')"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "fine\n"
