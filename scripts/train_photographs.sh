#!/bin/sh
# Trains the regressors that ship on from their drawn faces to photographs: vrn-compact, from it vrn-compact-lowres.
#
#     OUT=trained PORTRAITS=material/portraits MINUTES=85 LOW_MINUTES=20 scripts/train_photographs.sh
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
# photograph gets. DATASET='DIR' measures on photographs of another set, too. Interrupted, it goes on where it was.
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
    if grep -q "held-out portraits" "$OUT/$name.md"; then return; fi
    if [ -n "${DATASET:-}" ]; then
        $FACEPIPE models evaluate "$OUT/$name.safetensors" --dataset "$DATASET" --record "photos"
    fi
    $FACEPIPE models evaluate "$OUT/$name.safetensors" --faces "${FACES:-400}" --low-px 16,32,64 \
        --degradations area,camera --record "faces for tests"
    $FACEPIPE models evaluate "$OUT/$name.safetensors" --dataset "$SET" --split test --low-px 16,32 \
        --degradations camera --record "held-out portraits"
}

train vrn-compact "$MINUTES" --learning-rate 0.0008 --seed 42 --init "${INIT:-vrn-compact}"
train vrn-compact-lowres "${LOW_MINUTES:-20}" --learning-rate 0.0008 --seed 43 --low-resolution \
    --init "$OUT/vrn-compact.safetensors"
