#!/usr/bin/env bash
# Predicts and evaluates Composition-1K; further arguments are passed to main.py.
#
#     ./test.sh
#     GPUS=4 ./test.sh --config=config/gca-dist.toml --set test.checkpoint=best_model
set -euo pipefail
cd "$(dirname "$0")"

GPUS=${GPUS:-1}
launcher=(python)
if [[ $GPUS -gt 1 ]]; then
    launcher=(torchrun --standalone --nproc_per_node="$GPUS")
fi
exec "${launcher[@]}" main.py --config=config/gca-dist.toml --phase=test "$@"
