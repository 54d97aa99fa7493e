"""Answers that are files to keep."""


def attachment(name: str) -> dict[str, str]:
    """Return the headers that make an answer a file of this name; characters that are unsafe in one become `_`."""
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name)
    return {"Content-Disposition": f'attachment; filename="{safe}"'}
