"""Commands that are imported when they are used."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from evenload.cli import app
from evenload.lazy_commands import LAZY_COMMANDS, load


@pytest.mark.parametrize("name", LAZY_COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name):
    command = load(name)
    text = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    assert text == LAZY_COMMANDS[name].help


def test_help_lists_every_command_and_imports_none():
    asked = "import sys; from evenload.cli import app; app(['--help'], standalone_mode=False)"
    told = "heavy = {'aiohttp', 'lxml', 'pydantic', 'cryptography'} & sys.modules.keys(); print('heavy:', heavy)"
    done = subprocess.run([sys.executable, "-c", f"{asked}; {told}"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in LAZY_COMMANDS)
    assert "heavy: set()" in done.stdout


def test_a_command_that_is_not_there_is_guessed():
    done = CliRunner().invoke(app, ["flet"])
    assert done.exit_code == 2
    assert "fleet" in done.output
