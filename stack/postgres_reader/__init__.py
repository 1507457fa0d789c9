"""The reader of PostgreSQL: what a server says of itself, as metrics with bounded series."""
