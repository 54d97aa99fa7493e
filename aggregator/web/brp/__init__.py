"""The BRP API (`/brp/v1`): one module a noun, all operations in OPERATIONS, mounted by `mount`."""

from aggregator.web.brp.app import OPERATIONS, brp_api, mount
from aggregator.web.brp.desk import BRP, BrpDesk
from aggregator.web.brp.gate import GATE, TokenGate

__all__ = ["BRP", "GATE", "OPERATIONS", "BrpDesk", "TokenGate", "brp_api", "mount"]
