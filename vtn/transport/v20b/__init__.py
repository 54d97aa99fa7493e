"""OpenADR 2.0b over HTTP in pull mode: the edge, the answers, and what of our own is said in which message."""
