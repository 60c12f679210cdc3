"""`validate`: plays towns on the real engine, replays them in virtual time, and sets what was predicted beside what was measured."""
