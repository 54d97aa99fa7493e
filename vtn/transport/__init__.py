"""Maps OpenADR versions and modes onto the services."""
