"""Operator adapters: how the kit reaches what only a VTN's operator can do."""
