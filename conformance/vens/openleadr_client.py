"""openleadr's VEN as a process, for `evenload conform ven --start "python -m conformance.vens.openleadr_client {url}"`.

It opts into everything, and reports a power that is made up.
"""

import asyncio
import sys
from datetime import timedelta
from typing import Any

from openleadr import OpenADRClient


async def _opt_in(event: dict[str, Any]) -> str:
    del event
    return "optIn"


async def _run(url: str) -> None:
    client = OpenADRClient(ven_name="openleadr", vtn_url=url, disable_signature=True)
    client.add_handler("on_event", _opt_in)
    client.add_handler("on_update_event", _opt_in)
    client.add_report(
        callback=lambda: 1234.5,
        resource_id="heat-pump",
        measurement="POWER_REAL",
        report_specifier_id="telemetry",
        r_id="heat-pump-power",
        sampling_rate=timedelta(seconds=2),
    )
    await client.run()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
