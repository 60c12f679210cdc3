"""Many proxies that share one simulation, by Redis: `Member` is all that the rest of the proxy sees.

Pure are `records`, `lease`, `clocks`, `outbox`, `senders`, `marks`, `tables`, `places` and `changes`; `store` speaks to Redis,
`leading` and `following` are the two roles of a `member`. `file` keeps the same in a file, for one process without Redis.
"""
