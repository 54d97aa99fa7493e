"""The aggregator: potential, pool, tariffs, contracts, selection, and the trade with BRPs.

Services are functions on a Transaction, as in `vtn.services`, and stand on the VTN's: they may import `vtn`, never
gateways or devices. `selection/` is pure arithmetic on arrays; `web/` holds the BRP's REST API and console pages.
"""
