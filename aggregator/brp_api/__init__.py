"""The BRP API (`/brp/v1`): one module a noun, all operations in OPERATIONS, mounted by `mount`."""

from aggregator.brp_api.app import OPERATIONS, brp_api, mount
from aggregator.brp_api.desk import BRP, BrpDesk
from aggregator.brp_api.gate import GATE, TokenGate

__all__ = ["BRP", "GATE", "OPERATIONS", "BrpDesk", "TokenGate", "brp_api", "mount"]
