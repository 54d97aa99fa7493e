"""The command line, settings and the demo: the only place that wires everything. Nothing imports it."""
