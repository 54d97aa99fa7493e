"""The REST edge: operator API, tokens, OpenAPI, problem documents."""
