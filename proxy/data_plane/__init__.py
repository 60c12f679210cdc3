"""The way of the client's bytes: `Relay` (the ASGI app), `Recogniser` (who calls), `Upstream` (the way to the engine).

Pure ASGI without a framework. It tells the core of each call through `post`, and never waits for the control path.
"""
