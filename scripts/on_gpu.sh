#!/bin/sh
# Trains vrn-192 and hourglass-128 on one GPU, in a single call of at most BUDGET seconds: checks CUDA, runs the tests
# that need a device, measures networks and drawn faces beside the card's peak (rates.md in OUT), trains, evaluates,
# and cuts the weights into parts that any mailbox takes.
#
#     OUT=home PHOTOS=material/photographs scripts/on_gpu.sh                       # nine minutes, all cores
#     OUT=rehearsal PHOTOS=material/photographs DEVICE=cpu STEPS=2 FACES=2 LIMIT=2 WORKERS=0 scripts/on_gpu.sh
#
# PHOTOS is a folder that 'facepipe data annotate' wrote; without it faces are drawn only. With STEPS instead of
# minutes it is a rehearsal. Put together again: cat NAME.safetensors.part-* > NAME.safetensors. Called again with the
# same OUT, a training that was interrupted goes on; the checkpoints in OUT are for that.
set -eu
: "${OUT:?a folder for weights}"
FACEPIPE=${FACEPIPE:-facepipe}
DEVICE=${DEVICE:-cuda}
BUDGET=${BUDGET:-540}
OTHER=${OTHER:-240} # seconds for all that is not training, tests and rates among it
WORKERS=${WORKERS:-$(($(nproc) - 1))}
NETWORKS=${NETWORKS:-vrn-192 hourglass-128}
BEGAN=$(date +%s)
export OMP_NUM_THREADS=1
mkdir -p "$OUT"

say() { echo "$(($(date +%s) - BEGAN)) s: $*"; }

python - "$DEVICE" <<'CHECK'
import sys

import torch

device = sys.argv[1]
if device == "cuda":
    if not torch.cuda.is_available():
        sys.exit(f"no GPU here: torch {torch.__version__} was built for CUDA {torch.version.cuda}")
    half = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    half @ half
    start.record()
    for _ in range(20):
        half @ half
    end.record()
    torch.cuda.synchronize()
    print(f"{torch.cuda.get_device_name()}: {20 * 2 * 4096**3 / start.elapsed_time(end) / 1e9:.0f} TFLOPS in bfloat16")
CHECK

say "tests that need a device"
timeout 60 python -m pytest -q -rs -p no:cacheprovider tests/models/test_gpu.py tests/lab/test_faces_torch.py ||
    say "these tests failed"
say "rates"
rates="--device $DEVICE"
if [ "$DEVICE" = cpu ]; then rates="$rates --seconds 0.1 --images 2 --only compact"; fi
# shellcheck disable=SC2086
timeout 90 python -m benchmarks.gpu $rates | tee "$OUT/rates.md" || say "no rates"

photos=""
if [ -n "${PHOTOS:-}" ]; then photos="--photos $PHOTOS --photo-share ${SHARE:-0.5}"; fi
count=$(echo "$NETWORKS" | wc -w)
MINUTES=$(awk "BEGIN { print ($BUDGET - $OTHER) / $count / 60 }")
length="--minutes $MINUTES"
if [ -n "${STEPS:-}" ]; then length="--steps $STEPS"; fi

for arch in $NETWORKS; do
    case $arch in
    hourglass-128) name=hourglass-128-photos batch=${BATCH:-64} rate=0.0008 ;;
    *) name=$arch-photos batch=${BATCH:-64} rate=0.0005 ;;
    esac
    say "training $name, $length, $WORKERS processes make faces"
    # shellcheck disable=SC2086
    $FACEPIPE train vrn --as "$name" --arch "$arch" $length --batch "$batch" --views 8 --learning-rate $rate \
        $photos --workers "$WORKERS" --device "$DEVICE" --report-every 1000 --out "$OUT"
    say "evaluating $name"
    $FACEPIPE models evaluate "$OUT/$name.safetensors" --faces "${FACES:-100}" --device "$DEVICE" \
        --record "faces for tests"
    if [ -n "${PHOTOS:-}" ]; then
        $FACEPIPE models evaluate "$OUT/$name.safetensors" --dataset "$PHOTOS" --split test \
            --limit "${LIMIT:-200}" --device "$DEVICE" --record "held-out portraits"
    fi
    split -b 15m "$OUT/$name.safetensors" "$OUT/$name.safetensors.part-"
    (cd "$OUT" && sha256sum "$name.safetensors" > "$name.sha256")
    say "$name is home: $(ls "$OUT/$name.safetensors".part-* | wc -l) parts"
done
