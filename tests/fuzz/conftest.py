"""Makes the shared hypothesis strategies importable as `codec_strategies`."""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).parents[1] / "openadr" / "strategies")
if _FOLDER not in sys.path:
    sys.path.insert(0, _FOLDER)
