"""What lies in SQL: tables, engine, queries, the group-committing writer. The rows are the truth."""
