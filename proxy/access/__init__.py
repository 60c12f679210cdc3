"""Who may come in, and how much at a time: API keys, rates, connections, certificates, and the salts of caches.

The rules are pure: time is an argument, and nothing here knows of HTTP. Listeners ask them, and answer who is refused.
"""
