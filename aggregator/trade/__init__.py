"""The trade: contracts, requests, offers, activations, who is called for them, reports and settlements."""
