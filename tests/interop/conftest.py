"""Our VTN as a process of its own, for clients that others wrote."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import EvenloadError
from evenload.client import OperatorClient
from evenload.demo.processes import Stage, free_port
from evenload.settings import VTN_ID
from evenload.setup import Shape, prepare

_DEADLINE_S = 30.0


class Vtn:
    """Our VTN as a process, and its operator."""

    def __init__(self, desk: OperatorClient, stage: Stage, directory: Path, *, url: str, api: str, token: str) -> None:
        self.desk = desk
        self.url = url
        self.api = api
        self.token = token
        self._stage = stage
        self._directory = directory

    @property
    def ca(self) -> Path:
        return self._directory / "ca" / "ca.pem"

    async def until(self, ask: Callable[[], Awaitable[Any]], what: str) -> Any:
        """Return what `ask` returns as soon as that is something; the VTN may still be starting."""
        deadline = time.monotonic() + _DEADLINE_S
        found = None
        while time.monotonic() < deadline:
            self._stage.check()
            try:
                if found := await ask():
                    return found
            except EvenloadError as error:
                found = error
            await asyncio.sleep(0.05)
        log = (self._directory.parent / "vtn.log").read_text(encoding="utf-8")[-3000:]
        raise AssertionError(f"{what} did not come about; last: {found}\nThe VTN's log ends:\n{log}")

    async def status(self) -> dict[str, Any]:
        return await self.desk.get("/status")

    async def has_said_all(self) -> bool:
        """Whether nothing waits for a VEN."""
        rows = (await self.status())["outbox"]
        return not rows.get("pending") and not rows.get("sent")

    async def event(self, dispatch_id: str) -> dict[str, Any]:
        """Return the only event of a dispatch as the operator sees it."""
        (one,) = (await self.desk.get(f"/dispatches/{dispatch_id}"))["events"]
        return one

    def log(self) -> str:
        return (self._directory.parent / "vtn.log").read_text(encoding="utf-8")


@asynccontextmanager
async def _running(tmp_path: Path, *, strict: bool) -> AsyncIterator[Vtn]:
    openadr_port, api_port = free_port(), free_port()
    shape = Shape("127.0.0.1", openadr_port, api_port, "PT1S", "PT2S", "PT2S")
    made = await prepare(tmp_path / "vtn", ("localhost",), VTN_ID, shape)
    stage = Stage(tmp_path)
    mode = {"EVENLOAD_OPENADR__STRICT": str(strict).lower(), "EVENLOAD_OPENADR__OWN_REPORTS__OFFER": "true"}
    try:
        await stage.start("vtn", "evenload", "vtn", "--config", str(made.settings), environment=mode)
        api = f"https://localhost:{api_port}/v1"
        async with OperatorClient(api, made.token, ca=tmp_path / "vtn" / "ca" / "ca.pem") as desk:
            url = f"https://localhost:{openadr_port}/OpenADR2/Simple/2.0b"
            running = Vtn(desk, stage, tmp_path / "vtn", url=url, api=api, token=made.token)
            await running.until(running.status, "the VTN's answer")
            yield running
    finally:
        await stage.stop()


@pytest.fixture
async def vtn(tmp_path: Path) -> AsyncIterator[Vtn]:
    """Yield a VTN that takes messages of its VENs only as the schema has them."""
    async with _running(tmp_path, strict=True) as running:
        yield running


@pytest.fixture
async def tolerant_vtn(tmp_path: Path) -> AsyncIterator[Vtn]:
    """Yield a VTN that mends what it knows to mend, but for VENs that are to be strict."""
    async with _running(tmp_path, strict=False) as running:
        yield running
