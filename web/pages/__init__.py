"""Pages for people: forms, charts, templates and what they are made of."""
