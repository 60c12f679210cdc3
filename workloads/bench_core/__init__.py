"""What the proxy costs by itself, with few and with many agents: its core alone, and its loop from inside.

All other workloads are customers of the proxy. This one looks into it, since no customer could tell by which of its parts
the loop is held."""
