"""Python runs this in every child process of a test session (PYTHONPATH leads here): it opens the tap (`wire_tap.py`).

The module is loaded under the name by which tests import it, so that a process never holds it twice.
"""

import importlib.util
import sys
from pathlib import Path

_PLACE = Path(__file__).resolve().parent.with_name("wire_tap.py")
_SPEC = importlib.util.spec_from_file_location("support.wire_tap", _PLACE)
if _SPEC is not None and _SPEC.loader is not None:
    _TAP = importlib.util.module_from_spec(_SPEC)
    sys.modules["support.wire_tap"] = _TAP
    _SPEC.loader.exec_module(_TAP)
    _TAP.start()
