"""The black-box conformance kit. Shares no codec with the product; may import `core` only."""
