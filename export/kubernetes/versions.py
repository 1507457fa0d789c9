"""What the images of a pair are, as in compose.yaml."""

PROMETHEUS, ALERTMANAGER = "v3.13.0", "v0.33.1"
NOBODY = 65534
"""The user of both images."""
RETENTION = "31d"
"""The longest window of a rule is 30 days."""
