#!/bin/sh
# Trains every super-resolver that ships, one after another, in about 45 minutes on one free core.
#
#     python scripts/photographs.py material/photographs
#     facepipe data synthesize --n 320 --seed 41 --out material/synthetic
#     OUT=trained PHOTOGRAPHS=material/photographs FACES=material/synthetic/FACES scripts/train_superres.sh
#
# EVALUATE='DIR DIR ...' measures on photos that are not trained on. SHARE=0.1 makes a tenth of the steps.
# Interrupted, it goes on where it was; what is finished is not trained again.
set -eu
: "${OUT:?a folder for weights}" "${PHOTOGRAPHS:?a folder of photographs}" "${FACES:?a folder of faces}"
SHARE=${SHARE:-1}
FACEPIPE=${FACEPIPE:-facepipe}
measured=""
for folder in ${EVALUATE:-}; do measured="$measured --evaluate $folder"; done

# train NAME STEPS OPTIONS...
train() {
    name=$1
    steps=$(awk "BEGIN { print int($2 * $SHARE + 0.5) }")
    shift 2
    if [ -e "$OUT/$name.md" ]; then return; fi
    # shellcheck disable=SC2086
    $FACEPIPE train superres --as "$name" --steps "$steps" --out "$OUT" \
        --photographs "$PHOTOGRAPHS" --faces "$FACES" $measured "$@"
}

compact() { train "compact-$1-x$2" "$3" --arch compact --degradation "$1" --scale "$2" ${4:+--init "$OUT/$4.safetensors"}; }
espcn() { train "espcn-x$1" "$2" --arch espcn --scale "$1" ${3:+--init "$OUT/$3.safetensors"}; }

# What decides most comes first. Other scales start from the body of the one before, `camera` from `area`.
compact area 4 3150
compact area 2 2800 compact-area-x4
compact camera 4 2100 compact-area-x4
compact camera 2 1750 compact-area-x2
compact area 8 2800 compact-area-x4
compact camera 8 2100 compact-area-x8
espcn 4 6000
espcn 2 6000 espcn-x4
espcn 8 6000 espcn-x4
