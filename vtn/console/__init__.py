"""The console: server-rendered pages for operators. Other rooms add a `Section`: docs/reference/console.md."""

from vtn.console.app import all_pages, make_console
from vtn.console.frame import NavEntry
from vtn.console.page import Section, Visit, page
from web.pages.forms import Form

__all__ = ["Form", "NavEntry", "Section", "Visit", "all_pages", "make_console", "page"]
