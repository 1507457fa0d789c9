"""What readers of servers have in common: samples, their bounds, the metrics endpoint."""
