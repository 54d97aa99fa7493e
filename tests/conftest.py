"""Every session taps its sockets: each OpenADR message that we send is judged by the official schema."""

from support.tap_plugin import pytest_configure, pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_configure", "pytest_sessionfinish", "pytest_terminal_summary"]
