"""What a run is told as: a table for people, JUnit XML and JSON for machines, a page with the messages of failures."""
