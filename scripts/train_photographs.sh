#!/bin/sh
# Trains the regressors that ship on from their drawn faces to photographs: vrn-compact, from it vrn-compact-lowres.
#
#     OUT=trained PORTRAITS=material/portraits MINUTES=85 LOW_MINUTES=11 scripts/train_photographs.sh
#
# PORTRAITS is a folder of photographs. What ships learned from 3,764 portraits of these sources, a folder each
# (facepipe/data/weights/NOTICE has licences and attributions):
#
#     london_set, canada_set, lisa_zoom            debruine/webmorphR.stim @ fa8b78f
#     us_congress_gpo                              jforms/images @ 7eb7278
#     us_pif_fellows                               presidential-innovation-fellows/pif-website @ 8ae57fa
#     us_digital_corps                             GSA/digitalcorps.gsa.gov @ 68e805e
#     us_18f_team                                  18F/18f.gsa.gov @ 0a55c75
#     us_cio_council, us_cdo_council               GSA/cio.gov-redo @ 7893437, GSA/cdoc @ d9a1135
#     interfaces, fake_profile_pictures            cjdowner/interfaces @ 2166b22, acani/fake_profile_pictures @ c1d95c7
#     uk_parliament                                globalroo/uk-mps @ b1c48f8
#     us_congress_wiki_pre1930                     voteview/member_photos @ 687cf7a
#     faker_person_portrait                        faker-js/assets-person-portrait @ 63aef57
#     sfhq_t2i                                     SelfishGene/SFHQ-T2I-dataset @ a806447
#
# PERSON says what in a path names the person (a fifth of the people is held out), PROFILE how many turned views each
# photograph gets. DATASET='DIR' measures on photographs of another set, too. Interrupted, it goes on where it was. (What
# ships learned 42 minutes without turned views and 43 with them, one after the other; its card says so.)
set -eu
: "${OUT:?a folder for weights}" "${PORTRAITS:?a folder of photographs}" "${MINUTES:?of training, for vrn-compact}"
FACEPIPE=${FACEPIPE:-facepipe}
PERSON=${PERSON:-'^(london_set)/\w+?_(\d+)_|^(lisa_zoom)/'}
SET="$OUT/photographs"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

$FACEPIPE data annotate "$PORTRAITS" --out "$SET" --profile "${PROFILE:-1}" --person "$PERSON"

# train NAME MINUTES OPTIONS...
train() {
    name=$1 minutes=$2
    shift 2
    $FACEPIPE train vrn --as "$name" --minutes "$minutes" --batch 16 --views 6 --photos "$SET" \
        --photo-share "${SHARE:-0.5}" --workers "${WORKERS:-1}" --report-every 600 --out "$OUT" "$@"
}

# measure NAME
measure() {
    file="$OUT/$1.safetensors"
    if [ -e "$OUT/$1.md" ] && grep -q "faces for tests" "$OUT/$1.md"; then return; fi
    if [ -n "${DATASET:-}" ]; then
        $FACEPIPE models evaluate "$file" --dataset "$DATASET" --record "photos"
    fi
    $FACEPIPE models evaluate "$file" --dataset "$SET" --split test --low-px 16,32 --degradations camera \
        --record "held-out portraits"
    $FACEPIPE models evaluate "$file" --faces "${FACES:-400}" --low-px 16,32,64 --degradations area,camera \
        --record "faces for tests"
}

average="python scripts/average_weights.py"
train vrn-photos "$MINUTES" --learning-rate 0.0008 --seed 42 --init vrn-compact
# An average keeps what the old weights know of drawn faces, and gives away little of what was learned since.
$average vrn-compact "$OUT/vrn-photos.safetensors" 0.65 "$OUT/vrn-compact.safetensors"
measure vrn-compact
$average vrn-compact-lowres "$OUT/vrn-photos.safetensors" 0.5 "$OUT/vrn-start.safetensors"
train vrn-compact-lowres "${LOW_MINUTES:-20}" --learning-rate 0.0006 --seed 43 --low-resolution \
    --init "$OUT/vrn-start.safetensors"
measure vrn-compact-lowres
