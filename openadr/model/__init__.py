"""Version-neutral OpenADR values, and the rules on them as pure functions. Rules cite the catalogue (`EV-12`)."""
