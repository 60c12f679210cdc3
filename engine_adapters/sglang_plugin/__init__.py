"""The part of ScaleSim that runs inside SGLang.

Its own distribution (`scalesim-sglang-plugin`, module `scalesim_sglang`), because it lives in the engine's environment:
it imports SGLang, the standard library and itself, never the proxy. Three entry points of the group
`sglang.srt.plugins`, to be chosen with SGLANG_PLUGINS:

- `scalesim`        the agent-aware prefix cache (`--radix-cache-backend scalesim`) and its control routes
- `scalesim_cpu`    what SGLang needs to run without an accelerator; asleep where there is one
- `scalesim_meter`  counts the scheduler's wall time by kind of step; changes nothing

`wire` and `ledger` are plain Python, without SGLang: what a control call may say, and what follows from it.
"""
