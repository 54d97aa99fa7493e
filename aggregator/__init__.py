"""The aggregator: potential, pool, tariffs, contracts, selection, and the trade with BRPs.

Services are functions on a Transaction, as in `vtn.services`, and stand on the VTN's: they may import `vtn`, never
gateways or devices. From below: `flexibility/` what homes could do and what their pool can be relied on for,
`selection/` whom to call (both arithmetic on arrays), `tariff/` prices, `trade/` from contract to settlement, with the
worker that does what is due. Faces: `brp_api/` for the BRPs' systems, `api/` and `console/` for operators.
"""
