"""Maps OpenADR onto the services: a folder for each version; beside them what serves all."""
