"""Atheris looks for inputs that break the codec, the VTN or the gateway: for a minute.

Of this a quarter is their start; `make fuzz` takes ten minutes.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_TOP = Path(__file__).parents[2]
_TARGETS = ("decoding", "server", "gateway")
_SECONDS = float(os.environ.get("EVENLOAD_FUZZ_SECONDS", "45")) / len(_TARGETS)


@pytest.fixture(autouse=True)
def _atheris() -> None:
    if importlib.util.find_spec("atheris") is None:
        missing = "Guided fuzzing needs atheris, which has no wheel for this Python or machine (pyproject.toml)."
        if os.environ.get("CI"):
            raise RuntimeError(missing)
        pytest.skip(missing)


@pytest.mark.timeout(_SECONDS * 2 + 300)
@pytest.mark.parametrize("target", _TARGETS)
def test_no_input_breaks_it(target: str, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(_TOP), str(_TOP / "tests"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-m", "fuzz.guided", target, str(_SECONDS), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )

    assert run.returncode == 0, f"What broke it is in {tmp_path}.\n{run.stdout[-8000:]}"
    done = re.search(r"^Done (\d+) runs", run.stdout, re.MULTILINE)
    assert done is not None, run.stdout[-8000:]
    assert int(done[1]) > len(list((_TOP / "tests/fuzz/guided/corpus").iterdir())), (
        "it came no further than what is kept"
    )
