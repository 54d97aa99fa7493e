"""The gateway: VEN engine, transports, household file, event-to-command planning, reports, durable store.

May import `core`, `openadr`, `certs`, `bridges`, `metrics`.
"""
