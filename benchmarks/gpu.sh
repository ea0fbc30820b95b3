#!/usr/bin/env bash
# Checks and measures mmjax on this machine's NVIDIA GPU, and writes docs/accelerators.md:
#
#     pip install ".[cuda12,bench]" && bash benchmarks/gpu.sh
#
# One to two hours. What is already in runs/ is not repeated. `bash benchmarks/gpu.sh cpu` tries it out
# on a CPU, with tiny sizes, and changes no page.
set -euo pipefail
cd "$(dirname "$0")/.."
platform="${1:-cuda}"
export JAX_PLATFORMS="$platform,cpu"
export XLA_PYTHON_CLIENT_PREALLOCATE=false # PyTorch has the same GPU
runs="runs/$platform"
page=docs/accelerators.md

case "$platform" in
cuda)
    cases=(--batch-sizes 128 1024 --dtypes float32 bfloat16 --lanes 1 8 64)
    speed=(--rounds 5)
    ;;
cpu)
    export JAX_PLATFORMS=cpu
    cases=(--task synthetic --options size=60 --strategies concat --batch-sizes 8 --lanes 1 2)
    speed=(--tiny --rounds 1 --seconds 0.01)
    page="$runs/accelerators.md"
    mkdir -p "$runs"
    cp docs/accelerators.md "$page"
    ;;
*)
    echo "usage: bash benchmarks/gpu.sh [cuda|cpu]" >&2
    exit 2
    ;;
esac

python -c "import jax; assert jax.devices()[0].platform == '${platform/cuda/gpu}', jax.devices()"
python -m pytest -p no:xdist -o addopts="-q --strict-markers" -m gpu tests/test_gpu.py
python -m mmjax bench --strategies concat transformer bottleneck "${cases[@]}" --out "$runs/bench"
python benchmarks/speed.py --platform "$platform" --sides mmjax eager tuned compile \
    "${speed[@]}" --out "$runs/speed"
python benchmarks/accelerators_page.py "$runs/bench" --kind gpu --peers "$runs/speed" --page "$page"
echo "Written: $page"
