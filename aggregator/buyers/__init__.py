"""The BRPs' programs: their clients and tokens, and the webhooks that tell them what happened."""
