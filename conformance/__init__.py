"""The black-box conformance kit: what has to hold, and how it is seen from outside.

`catalogue` and `rules.yaml` hold the rules, `vocabulary` the names of the protocol. The kit shares no codec with the
product; it may import `core` only.
"""
