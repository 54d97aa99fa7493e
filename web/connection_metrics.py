"""The connections of a process at /metrics. Apart from them, since a gateway has connections and no metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from web.connections import Connections, Limits


def measured(limits: Limits, registry: CollectorRegistry) -> Connections:
    """Return the connections of a process, counted in a registry."""
    closed = Counter(
        "evenload_connections_turned_away", "Connections closed to make room, or not taken.", registry=registry
    )
    connections = Connections(limits, closed.inc)
    Gauge("evenload_connections", "Open connections.", registry=registry).set_function(lambda: len(connections))
    Gauge("evenload_connections_limit", "As many may be open.", registry=registry).set(limits.most)
    return connections
