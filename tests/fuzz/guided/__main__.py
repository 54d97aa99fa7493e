"""Look for inputs that break a target, guided by what code they reach. Ends the process with an error at the first.

    PYTHONPATH=.:tests python -m fuzz.guided decoding|server|gateway SECONDS FOLDER
    PYTHONPATH=.:tests python -m fuzz.guided decoding|server|gateway FILE ...

The first looks for SECONDS; new inputs of interest and those that broke it go to FOLDER, and nothing into the tree. The
second tries files, such as those that broke it, one after the other.
"""

import sys
from collections import deque
from pathlib import Path
from types import ModuleType

from fuzz.guided import kept
from fuzz.guided.mutator import Mutator

_ROOMS = {
    "decoding": ["openadr"],
    "server": ["openadr", "vtn.transport", "vtn.services", "vtn.store"],
    "gateway": ["openadr", "ven"],
}
"""What a target is to cover: to make more of it countable takes seconds, and slows everything down."""
_LIMITS = ("-timeout=25", "-rss_limit_mb=2048", "-max_len=8192")
_RECENT = 40
"""As many inputs as a target lives for, more or less: what broke may have begun with an earlier one."""


def main(target: str, *what: str) -> None:
    """Run what the command line says."""
    if what and Path(what[0]).is_file():
        taker = _make(target)
        for name in what:
            taker.take(Path(name).read_bytes())
        taker.close()
        return
    import atheris  # not needed to try files  # noqa: PLC0415

    with atheris.instrument_imports(include=_ROOMS.get(target, [])):
        taker = _make(target)
    _look(atheris, taker, float(what[0]), Path(what[1]))


def _make(target: str):
    """Import a target and make it: imports of what is to be covered must not stand at the top."""
    match target:
        case "decoding":
            from fuzz.guided.decoding import Decoding  # noqa: PLC0415

            return Decoding()
        case "server":
            from fuzz.guided.server import Server  # noqa: PLC0415

            return Server(kept.CERTIFICATE.read_bytes())
        case "gateway":
            from fuzz.guided.gateway import Gateway  # noqa: PLC0415

            return Gateway()
    raise SystemExit(__doc__)


def _look(atheris: ModuleType, taker, seconds: float, folder: Path) -> None:
    mutator = Mutator([*kept.read().values()])
    recent: deque[bytes] = deque(maxlen=_RECENT)

    def take(body: bytes) -> None:
        recent.append(body)
        try:
            taker.take(body)
        except BaseException:
            for number, earlier in enumerate(recent):
                (folder / f"recent-{number:02}.xml").write_bytes(earlier)
            raise

    def change(body: bytes, most_bytes: int, seed: int) -> bytes:
        return mutator.change(body, most_bytes, seed, atheris.Mutate)

    grown = folder / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    limits = [*_LIMITS, f"-max_total_time={seconds:.0f}", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, str(grown), str(kept.FOLDER)], take, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
