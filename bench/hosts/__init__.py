"""The API on several hosts: rolling restarts and failovers behind a load balancer."""
