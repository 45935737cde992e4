"""SQL that a language model wrote is untrusted input: see docs/sql-safety.md."""
