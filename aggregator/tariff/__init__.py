"""Tariffs: price series and their versions, where they are fetched, and the price events that tell VENs of them."""
