"""The black-box conformance kit: it plays VENs at any VTN, and judges what the VTN says from outside.

`catalogue` and `rules.yaml` hold the rules, `vocabulary` the names of the protocol. `dialogues/` speak and keep every
byte (`exchange`), `checks/` judge what was kept, `operators/` do what only a VTN's operator can, `report/` tells. The
kit shares no codec with the product; it may import `core` only.
"""
