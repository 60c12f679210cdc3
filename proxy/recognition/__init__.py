"""Who calls, read from a request that was made for the engine and not for us.

The ladder, each rung with a source and a confidence: what the client says outright (`explicit`), a *recipe* for the framework
that made the request (`recipes/`), an earlier answer that the request repeats (`links`), and what was learned of the prompts
(`learned/`). Advice, never authority: a wrong name costs time and never an answer, and below the threshold nobody is named.

Sync, without I/O but for the recipes' folder; time arrives as an argument. Every table is bounded.
"""
