"""Pooled flexibility, tariffs, selection and the market. May import what `vtn` may, and `vtn`."""
