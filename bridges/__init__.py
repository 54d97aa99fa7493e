"""Devices: points, capabilities, commands with leases; connections; devices as templates, or drivers that converse.

Knows nothing of OpenADR. May import `core`, nothing else of ours.
"""
