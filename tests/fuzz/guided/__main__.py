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

_ROOMS = ["openadr", "vtn.transport", "vtn.services", "vtn.store", "ven", "bridges", "web", "core.spans"]
"""What is to be covered; the libraries below would only slow it down."""
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

    with atheris.instrument_imports(include=_ROOMS):
        taker = _make(target)
    _look(atheris, taker, float(what[0]), Path(what[1]))


def _make(target: str):
    """Import a target and make it: imports of what is to be covered must not stand at the top."""
    from fuzz.guided import corpus, decoding, gateway, server  # noqa: PLC0415

    match target:
        case "decoding":
            return decoding.Decoding()
        case "server":
            return server.Server(corpus.CERTIFICATE.read_bytes())
        case "gateway":
            return gateway.Gateway()
    raise SystemExit(__doc__)


def _look(atheris: ModuleType, taker, seconds: float, folder: Path) -> None:
    from fuzz.guided import corpus  # noqa: PLC0415
    from fuzz.guided.mutator import Mutator  # noqa: PLC0415

    mutator = Mutator([*corpus.read().values()])
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

    kept = folder / "corpus"
    kept.mkdir(parents=True, exist_ok=True)
    limits = [*_LIMITS, f"-max_total_time={seconds:.0f}", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, str(kept), str(corpus.FOLDER)], take, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
