#!/bin/sh
# Makes the model at the first start (it stays in the volume), then serves it.
# MODEL: random or smollm2. Arguments are handed to SGLang.
set -eu
model=${MODEL:-random}
# Threads that wait by spinning take the cores from each other.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" SGLANG_USE_CPU_ENGINE=1
export SGLANG_PLUGINS=scalesim,scalesim_cpu
python -m scalesim_sglang.model_maker "$model" "/models/$model"
exec python -m sglang.launch_server --model-path "/models/$model" --served-model-name "$model" \
    --host 0.0.0.0 --port 30000 --radix-cache-backend scalesim \
    --device cpu --dtype float32 --attention-backend torch_native --sampling-backend pytorch --grammar-backend none \
    --sleep-on-idle --enable-cache-report --enable-metrics --max-total-tokens "${MAX_TOTAL_TOKENS:-20000}" "$@"
