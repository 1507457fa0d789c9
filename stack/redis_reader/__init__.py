"""The reader of Redis: what a server says of itself, as metrics with bounded series."""
