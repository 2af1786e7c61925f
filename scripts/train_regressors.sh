#!/bin/sh
# Trains the regressors from random weights and measures them: vrn-compact, from it vrn-compact-lowres, and with
# FULL_MINUTES a vrn-192, which needs a GPU.
#
#     OUT=trained MINUTES=600 scripts/train_regressors.sh                                # two cores, over night
#     OUT=trained MINUTES=60 BATCH=64 PROCESSES=1 WORKERS=15 FULL_MINUTES=120 scripts/train_regressors.sh   # a GPU
#
# PROCESSES train together (as many as there are GPUs, or cores), each with WORKERS that make faces. LOW_MINUTES are
# those of the second one. FACES are measured on in the end; DATASET='DIR' measures on photos with landmarks, too.
# Interrupted, it goes on where it was; what is finished is neither trained nor measured again.
set -eu
: "${OUT:?a folder for weights}" "${MINUTES:?of training, for vrn-compact}"
PROCESSES=${PROCESSES:-2}
FACEPIPE=${FACEPIPE:-facepipe}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# train NAME ARCH MINUTES OPTIONS...
train() {
    name=$1 arch=$2 minutes=$3
    shift 3
    torchrun --standalone --nproc-per-node "$PROCESSES" --no-python "$FACEPIPE" train vrn --as "$name" --arch "$arch" \
        --minutes "$minutes" --batch "${BATCH:-12}" --views 6 --workers "${WORKERS:-1}" --report-every 800 \
        --out "$OUT" "$@"
    if grep -q "faces for tests" "$OUT/$name.md"; then return; fi
    if [ -n "${DATASET:-}" ]; then
        "$FACEPIPE" models evaluate "$OUT/$name.safetensors" --dataset "$DATASET" --record "photos"
    fi
    "$FACEPIPE" models evaluate "$OUT/$name.safetensors" --faces "${FACES:-400}" --low-px 16,32,64 \
        --degradations area,camera --record "faces for tests"
}

train vrn-compact compact "$MINUTES" --learning-rate 0.0014
train vrn-compact-lowres compact "${LOW_MINUTES:-15}" --learning-rate 0.0008 --low-resolution \
    --init "$OUT/vrn-compact.safetensors"
if [ -n "${FULL_MINUTES:-}" ]; then train vrn-192 vrn-192 "$FULL_MINUTES" --learning-rate 0.0005; fi
