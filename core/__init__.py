"""The common ground: times, spans, ids, quantities, points, readings, errors.

Standard library only, no I/O, imports nothing of ours. Every other room may import it.
"""
