"""The console: server-rendered pages for operators. Other rooms add a `Section`: docs/contributing/console-pages.md."""

from vtn.console.console import all_pages, make_console
from vtn.console.request import Console, ConsoleRequest
from web.pages.forms import Form
from web.pages.page import Section, page
from web.pages.shell import NavEntry

__all__ = ["Console", "ConsoleRequest", "Form", "NavEntry", "Section", "all_pages", "make_console", "page"]
