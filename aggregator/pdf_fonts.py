"""The fonts of PDFs, which the files carry: ReportLab, the extra `[pdf]`, brings Bitstream Vera along."""

from importlib import import_module
from typing import Final

from core.errors import UnavailableError

PLAIN: Final = "Vera"
BOLD: Final = "VeraBd"


def register_fonts() -> None:
    """Let PDFs be set in PLAIN and BOLD. Raises UnavailableError where ReportLab is not installed."""
    try:
        metrics, fonts = import_module("reportlab.pdfbase.pdfmetrics"), import_module("reportlab.pdfbase.ttfonts")
    except ImportError as error:
        raise UnavailableError("PDFs need the extra 'pdf': pip install 'evenload[pdf]'.") from error
    for name in (PLAIN, BOLD):
        metrics.registerFont(fonts.TTFont(name, f"{name}.ttf"))
