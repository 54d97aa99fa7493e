"""Devices: points, capabilities, commands with leases; the MQTT link; message conventions; one module per driver.

Knows nothing of OpenADR. May import `core`, nothing else of ours.
"""
