"""The shell of all that speaks HTTP: operations, problems, listeners, pages. It knows no OpenADR and no database."""
