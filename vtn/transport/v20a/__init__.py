"""OpenADR 2.0a: VENs that only know EiEvent, and ask for their events from time to time (catalogue chapter PA)."""
