"""The kept inputs, with which a search begins; `fuzz.guided.corpus` writes them."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"
CERTIFICATE: Final = Path(__file__).parent / "signer.pem"
"""Of the VEN that signed the kept messages."""


def read() -> dict[str, bytes]:
    """Return the kept inputs by their names."""
    return {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.xml"))}
