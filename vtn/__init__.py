"""The DRMS server: services (one a domain noun), transports that map OpenADR onto them, the store, the web edge.

May import `core`, `openadr`, `certs`, `metrics`.
"""
