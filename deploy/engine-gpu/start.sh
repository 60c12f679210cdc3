#!/bin/sh
# Serves the model folder GPU_MODEL (below /models) on the GPUs of this container. Arguments are handed to SGLang.
set -eu
export HF_HUB_OFFLINE=1
exec python3 -m sglang.launch_server --model-path "/models/${GPU_MODEL:?the name of a folder with a model}" --served-model-name "$GPU_MODEL" \
    --host 0.0.0.0 --port 30000 --radix-cache-backend scalesim --enable-cache-report --enable-metrics \
    --enable-hierarchical-cache --hicache-write-policy write_through "$@"
