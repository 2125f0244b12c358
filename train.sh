#!/usr/bin/env bash
# Trains with the paper's recipe on all GPUs of this machine; further arguments are passed to main.py. The paper uses
# 4 GPUs with batches of 10; with another number of GPUs, choose model.batch_size so that the product stays 40.
#
#     ./train.sh
#     GPUS=2 ./train.sh --config=config/baseline-dist.toml --set model.batch_size=20
set -euo pipefail
cd "$(dirname "$0")"

GPUS=${GPUS:-$(python -c "import torch; print(max(1, torch.cuda.device_count()))")}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
launcher=(python)
if [[ $GPUS -gt 1 ]]; then
    launcher=(torchrun --standalone --nproc_per_node="$GPUS")
fi
exec "${launcher[@]}" main.py --config=config/gca-dist.toml "$@"
