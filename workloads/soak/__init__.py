"""A long time of mixed calls by clients of all kinds: nothing may be lost, and nothing may grow."""
