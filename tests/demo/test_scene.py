"""The demo's waiting: as long as a slow host and a slow world may take, and then a clear word."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from core.clock import WorldClock
from core.errors import UnavailableError
from core.private import private_directory
from evenload.demo import broker
from evenload.demo import setup as scenes
from evenload.demo.plan import DemoPlan
from evenload.demo.processes import Stage
from evenload.demo.setup import Scene, longest_s


def scene(directory: Path, speed: float) -> Scene:
    clock = WorldClock(datetime(2013, 11, 20, tzinfo=UTC), datetime.now(UTC), speed)
    return Scene(DemoPlan(), Stage(directory), clock, "token", 1, Console(), directory / "vtn.toml")


async def test_patience_ends_with_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "_PATIENCE_S", 0.0)
    with pytest.raises(UnavailableError, match="nobody came"):
        async with scene(tmp_path, 480.0).patience(timedelta(seconds=1), "nobody came"):
            await asyncio.Event().wait()


def test_a_slow_world_is_given_more_time():
    still = longest_s(timedelta(), 1.0)
    assert longest_s(timedelta(minutes=10), 1.0) == still + 600
    assert longest_s(timedelta(minutes=10), 60.0) == still + 10


async def test_what_goes_wrong_meanwhile_is_not_called_impatience(tmp_path):
    with pytest.raises(ValueError, match="other"):
        async with scene(tmp_path, 60.0).patience(timedelta(), "late"):
            raise ValueError("other")


async def test_what_a_run_keeps_is_private_and_so_are_the_codes(tmp_path, monkeypatch):
    class Client:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

        async def post(self, _, body):
            return {"id": "prg_1", "ven": {"id": "ven_1"}, "code": "7KQ2-M9XA-3TDP-8WLC"} | body

    async def ran(*_):
        pass

    directory = tmp_path / "run"
    plan = replace(DemoPlan(), homes=4)
    private_directory(directory)
    monkeypatch.setattr(Stage, "run", ran)
    household = scenes._write_household(1, plan, directory, broker.prepare(directory / "broker", 1))
    monkeypatch.setattr(Scene, "client", lambda _: Client())
    await scenes._enrol(scene(directory, 60.0), [household])
    assert "7KQ2-M9XA" in (directory / "codes.json").read_text()
    for one in (directory, household.parent, directory / "codes.json"):
        assert one.stat().st_mode & 0o077 == 0, one
