"""The console: server-rendered pages for operators. Other rooms add theirs as a `Section` (see docs/console.md)."""

from vtn.web.console.app import all_pages, make_console
from vtn.web.console.forms import Form
from vtn.web.console.page import NavEntry, Section, Visit, page

__all__ = ["Form", "NavEntry", "Section", "Visit", "all_pages", "make_console", "page"]
