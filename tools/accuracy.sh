#!/usr/bin/env bash
# Measures how accurate the model is and prints the tables of docs/accuracy.md as Markdown; the
# plots go to docs/accuracy/. Takes some minutes on one core.
#   tools/accuracy.sh               builds factor-eval first
#   tools/accuracy.sh FACTOR_EVAL   measures with that program
#   tools/accuracy.sh --time-per-pass [FACTOR_EVAL]
#                                   measures seconds alone, on a generated set as large as MovieLens
#                                   10M; wants 1 GiB of memory
#   FACTORD_DATA=DIR                folder with ml-100k/ and ml-1m-timed/; without it only MovieLens
#                                   latest-small, of data/, is measured
#   FACTORD_ACCURACY_SEEDS=5        how many seeds, from 101: none that constants were chosen by
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

wants_time=false
if [[ "${1:-}" == --time-per-pass ]]; then
  wants_time=true
  shift
fi
if (($# > 0)); then
  eval="$1"
else
  tools/build.sh --target factor-eval >&2
  eval=build/release/evaluation/factor-eval
fi
seeds="${FACTORD_ACCURACY_SEEDS:-5}"
first_seed=101
plots=docs/accuracy
mkdir -p "$plots"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# --- Rating sets

names=() slugs=() files=() sorted=() minima=()

# Name, file name for plots, file, separator, smallest rating.
add_set() {
  local at="$work/$2.csv"
  tr -d '\r' <"$3" | awk -F"$4" -v OFS=, '$4 ~ /^[0-9]+$/ { print $1, $2, $3, $4 }' | sort -s -t, -k4,4n >"$at"
  names+=("$1") slugs+=("$2") files+=("$3") sorted+=("$at") minima+=("$5")
}

add_set latest-small latest-small data/ml-latest-small/ratings.csv , 0.5
if [[ -n "${FACTORD_DATA:-}" ]]; then
  add_set 100K 100k "$FACTORD_DATA/ml-100k/u.data" '\t' 1
  add_set '1M, users 1-2999' 1m "$FACTORD_DATA/ml-1m-timed/ratings.dat" '::' 1
elif [[ "$wants_time" == false ]]; then
  printf 'FACTORD_DATA is not set: MovieLens 100K and 1M are left out.\n\n'
fi

# Each reads events in order of time (user,item,rating,time) and writes others.

# Ratings of 4 and more, as clicks.
clicks() { awk -F, -v OFS=, '$3 >= 4 { print $1, $2, 1, $4 }' "$1"; }
# Without each user's last event.
without_last() { awk -F, 'NR == FNR { last[$1] = FNR; next } FNR != last[$1]' "$1" "$1"; }
random='function random() { state = (16807 * state) % 2147483647; return state / 2147483647 }
        BEGIN { state = 20141; for (i = 0; i < 20; ++i) random() }'
# One event of each user, at random, becomes the last.
random_last() {
  awk -F, -v OFS=, "$random"'
    NR == FNR { if (random() * ++n[$1] < 1) pick[$1] = FNR; next }
    FNR == pick[$1] { $4 = "4000000000" }
    { print }' "$1" "$1"
}
# The last event of each user stays the last, the others come in random order.
shuffled() {
  awk -F, -v OFS=, "$random"'
    NR == FNR { last[$1] = FNR; next }
    { $4 = FNR == last[$1] ? "4000000000" : int(1000000000 * random()); print }' "$1" "$1"
}

# As many users, items and ratings as in MovieLens 10M, half stars, long tails: users have 22 to 7,362
# ratings, half of them up to 73; items have 434 to 38,490, half of them up to 692.
like_10m() {
  awk "$random"'
    BEGIN {
      users = 69878
      items = 10677
      left = 10000054
      for (user = 0; user < users; ++user) {
        count[user] = int(20 + 123 * (sqrt(users / (user + 0.5)) - 1))
        if (count[user] > 7359) count[user] = 7359
        left -= count[user]
      }
      for (user = 0; left > 0; user = (user + 1) % users) { ++count[user]; --left }
      for (item = 0; item < items; ++item) item_bias[item] = random() - 0.5
      for (user = 0; user < users; ++user) {
        user_bias = random() - 0.5
        for (n = count[user]; n > 0;) {
          item = int(items * random() ^ 2)
          if (last_user[item] == user + 1) continue
          last_user[item] = user + 1
          --n
          stars = int(2 * (3.75 + user_bias + item_bias[item] + 2 * (random() + random() - 1)))
          print user "," item "," (stars < 1 ? 1 : stars > 10 ? 10 : stars) / 2
        }
      }
    }'
}

# --- Measuring and printing

# The value of a measure in the JSON of factor-eval; nothing: there is none.
value() { sed -nE "s/.*\"$1\":(-?[0-9.e+-]+).*/\1/p" <<<"$2"; }

# Measures ("mae seconds"), JSON: their means, with deviations where there are any.
cell() {
  local name mean deviation text='' format factor
  for name in $1; do
    format=%.4f factor=1
    case "$name" in
      error_percent | seconds) format=%.2f ;;
      passive_share) format=%.1f%% factor=100 ;;
    esac
    mean="$(value "$name" "$2")"
    deviation="$(value "${name}_deviation" "$2")"
    [[ -z "$text" ]] || text+=' / '
    text+="$(awk -v x="$mean" -v f="$format" -v k="$factor" 'BEGIN { printf f, k * x }')"
    [[ -z "$deviation" || "$name" == seconds || "$name" == passive_share ]] ||
      text+="$(awk -v x="$deviation" -v f="$format" 'BEGIN { printf " ± " f, x }')"
  done
  printf '%s' "$text"
}

row() { printf '| %s ' "$@"; printf '|\n'; }
header() {
  row "$@"
  printf '|%.0s---' "$@"
  printf '|\n'
}

# Set, flags.
on_split() {
  local i="$1"
  shift
  "$eval" --json --data="${files[i]}" --min_rating="${minima[i]}" --seed="$first_seed" --repeat="$seeds" "$@"
}
# The whole set in order of time, each rating predicted and then learned. What is in --test does not
# matter.
on_stream() {
  local i="$1"
  shift
  head -n 1 "${sorted[i]}" >"$work/one.csv"
  "$eval" --json --train="${sorted[i]}" --test="$work/one.csv" --min_rating="${minima[i]}" --seed="$first_seed" --repeat="$seeds" "$@"
}

# Prints a row with a cell a set: label, on_split or on_stream, measures, flags.
line() {
  local label="$1" how="$2" measures="$3" cells=() i
  shift 3
  for i in "${!names[@]}"; do cells+=("$(cell "$measures" "$("$how" "$i" "$@")")"); done
  row "$label" "${cells[@]}"
}

title() { printf '\n### %s\n\n' "$*"; }

# --- The tables

printf 'Measured on %s, seeds %d to %d, one core of a %s.\n' "$(date -u +%F)" "$first_seed" "$((first_seed + seeds - 1))" \
  "$(sed -nE 's/^model name\s*: (.*)/\1/p' /proc/cpuinfo | head -n 1)"

if [[ "$wants_time" == true ]]; then
  like_10m >"$work/10m.csv"
  title 'Seconds of the first pass, and of one of the next two, on 8,000,000 of 10,000,054 ratings, rank 30'
  header method 'first pass' "times pa's" 'next passes' "times pa's"
  methods=(pa sgd-absolute coordinate-descent online-pa-1 online)
  for passes in 1 3; do
    "$eval" --json --data="$work/10m.csv" --min_rating=0.5 --rank=30 --l2=0.1 --passes="$passes" --seed="$first_seed" --repeat="$seeds" \
      --method="$(IFS=,; echo "${methods[*]}")" >"$work/passes-$passes"
  done
  for i in "${!methods[@]}"; do
    first="$(value seconds "$(sed -n "$((i + 1))p" "$work/passes-1")")"
    three="$(value seconds "$(sed -n "$((i + 1))p" "$work/passes-3")")"
    [[ "$i" != 0 ]] || pa=("$first" "$three")
    row "${methods[i]}" "$(awk -v a="$first" -v b="$three" -v pa="${pa[0]}" -v pb="${pa[1]}" 'BEGIN {
      printf "%.2f | %.2f | %.2f | %.2f", a, a / pa, (b - a) / 2, (b - a) / (pb - pa) }')"
  done
  exit
fi

title 'Random order: test MAE'
header 'method, passes' "${names[@]}"
line 'biases, 1' on_split mae --method=biases
line 'online-pa-1, 1' on_split mae --method=online-pa-1
line '**online, 1**' on_split mae
line 'online, 1, error%' on_split error_percent
line 'online, 1, RMSE' on_split rmse
line 'online, 1, range 0 to 5' on_split mae --min_rating=0
for rank in 8 16 64 128; do line "online, 1, rank $rank" on_split mae --rank="$rank"; done
line 'biases, 5' on_split mae --method=biases --passes=5
line 'online-pa-1, 5' on_split mae --method=online-pa-1 --passes=5
line 'online, 5: the stream sent five times' on_split mae --passes=5

title 'Learning again, random order: test MAE / seconds'
header 'what, and how' "${names[@]}"
line 'once, as they come' on_split 'mae seconds'
for replay in 1 3 7; do line "replay $replay" on_split 'mae seconds' --replay="$replay"; done
line 'four passes over the histories' on_split 'mae seconds' --passes=5 --over_histories
line 'all sent five times' on_split 'mae seconds' --passes=5
# The same of the first users of 1M.
by_users() {
  local names=('users 1-750' '1-1500' '1-2999') files=() minima=(1 1 1) users
  for users in 750 1500 2999; do
    files+=("$work/1m-$users.dat")
    awk -F:: -v n="$users" '$1 <= n' "$FACTORD_DATA/ml-1m-timed/ratings.dat" >"${files[-1]}"
  done
  header 'what, and how' "${names[@]}"
  line 'once, as they come' on_split mae
  line 'four passes over the histories' on_split mae --passes=5 --over_histories
  line 'all sent five times' on_split mae --passes=5
}
if [[ -n "${FACTORD_DATA:-}" ]]; then
  title 'Random order, by how many users of 1M there are: test MAE'
  by_users
fi
title 'Learning again, order of time: MAE of each rating before it is learned'
header 'what, and how' "${names[@]}"
for replay in 0 1 3 7; do line "replay $replay" on_stream prequential_mae --replay="$replay"; done

title 'Order of time, predict and then learn, whole set: MAE, and of the second half'
header method "${names[@]}"
both='prequential_mae prequential_mae_second_half'
line biases on_stream "$both" --method=biases
line online-pa-1 on_stream "$both" --method=online-pa-1
line '**online**' on_stream "$both"
line 'online, range 0 to 5' on_stream "$both" --min_rating=0

title 'online-pa-1, order of time, range 0 to 5: MAE by C'
header C "${names[@]}"
for c in 0.005 0.01 0.02 0.03 0.04 0.08 0.2; do
  line "$c" on_stream prequential_mae --method=online-pa-1 --min_rating=0 --aggressiveness="$c"
done

# Label, smallest and largest value, what awk makes of each line of latest-small: a row.
other_kind() {
  local flags=(--json --data="$work/other.csv" --min_rating="$2" --max_rating="$3" --seed="$first_seed" --repeat="$seeds")
  local biases online
  awk -F, -v OFS=, "$4"' { print }' "${sorted[0]}" >"$work/other.csv"
  biases="$("$eval" "${flags[@]}" --method=biases)"
  online="$("$eval" "${flags[@]}")"
  row "$1" "$(cell mae "$biases")" "$(cell mae "$online")" \
    "$(awk -v x="$(value mae "$online")" -v y="$(value mae "$biases")" 'BEGIN { printf "%.3f", x / y }')"
}
# shellcheck disable=SC2016  # for awk
other_kinds() {
  other_kind 'values 1 to 10' 1 10 '{ $3 = 2 * $3 }'
  other_kind 'values 0 to 20' 0 20 '{ $3 = ($3 - 0.5) * 20 / 4.5 }'
  other_kind '4 and more is 1, less is 0' 0 1 '{ $3 = $3 >= 4 }'
  other_kind 'items cut into pieces of 10 ratings at most' 0.5 5 '{ $2 = $2 "-" int(0.1 * n[$2]++) }'
  other_kind 'of 3' 0.5 5 '{ $2 = $2 "-" int(n[$2]++ * 0.3334) }'
  other_kind 'of 3, and users of 20' 0.5 5 '{ $2 = $2 "-" int(n[$2]++ * 0.3334); $1 = $1 "-" int(0.05 * m[$1]++) }'
}
title 'latest-small on other scales and cut up, random order: test MAE'
header 'what was made of it' biases online 'online / biases'
other_kinds

# Label, file, flags of the online method: a row of the ranking table.
rank_row() {
  local flags=(--json --data="$2" --split=last-out --min_rating=0 --max_rating=5) popularity online pa rating='none'
  popularity="$("$eval" "${flags[@]}" --method=popularity)"
  online="$("$eval" "${flags[@]}" --seed="$first_seed" --repeat="$seeds" "${@:3}")"
  pa="$("$eval" "${flags[@]}" --method=online-pa-1 --seed="$first_seed" --repeat="$seeds")"
  if (($# == 2)); then
    rating="$("$eval" "${flags[@]}" --rank_by=rating --seed="$first_seed" --repeat="$seeds")"
  fi
  ratio() { awk -v x="$(value "$1" "$2")" -v y="$(value "$1" "$popularity")" 'BEGIN { printf "%.2f", x / y }'; }
  row "$1" "$(value test_events "$popularity")" "$(cell 'recall ndcg' "$popularity")" "$(cell recall "$online")" \
    "$(cell ndcg "$online")" "**$(ratio recall "$online") / $(ratio ndcg "$online")**" \
    "$(ratio recall "$pa") / $(ratio ndcg "$pa")" \
    "$([[ "$rating" == none ]] && printf none || printf '%s / %s' "$(ratio recall "$rating")" "$(ratio ndcg "$rating")")" \
    "$(awk -v a="$(value coverage "$popularity")" -v b="$(value coverage "$online")" 'BEGIN { printf "%d / %.0f", a, b }')"
}
rank_table() {
  header events users 'popularity: recall@10 / NDCG@10' 'online: recall@10' 'online: NDCG@10' 'times popularity' \
    'online-pa-1 (p . q), times popularity' 'online by predicted rating, times popularity' \
    'items recommended: popularity / online'
  local i kind flags
  for i in "${!names[@]}"; do
    for kind in "$@"; do
      flags=()
      case "$kind" in
        ratings) cp "${sorted[i]}" "$work/events.csv" ;;
        *)
          clicks "${sorted[i]}" >"$work/events.csv"
          flags=(--event_type=click)
          ;;
      esac
      case "$how" in
        last) cp "$work/events.csv" "$work/ranked.csv" ;;
        *) "$how" "$work/events.csv" >"$work/ranked.csv" ;;
      esac
      rank_row "${names[i]}, $kind" "$work/ranked.csv" "${flags[@]}"
    done
  done
}

title "Each user's last item"
how=last rank_table ratings clicks
title "Each user's last item but one, the last left out"
how=without_last rank_table ratings clicks
title 'An item of each user at random'
how=random_last rank_table ratings clicks
title "Each user's last item, learned in random order"
how=shuffled rank_table ratings clicks

# Label, flags: a row of each user's last click, NDCG@10.
click_row() {
  local cells=() i
  for i in "${!names[@]}"; do
    clicks "${sorted[i]}" >"$work/events.csv"
    cells+=("$(cell ndcg "$("$eval" --json --data="$work/events.csv" --split=last-out --min_rating=0 --max_rating=5 \
      --seed="$first_seed" --repeat="$seeds" "${@:2}")")")
  done
  row "$1" "${cells[@]}"
}

title 'Clicks sent several times, in order: NDCG@10 of the last'
header sent "${names[@]}"
for passes in 1 2 5; do click_row "$passes" --event_type=click --passes="$passes"; done

title 'Clicks by value and weight: NDCG@10 of the last'
header 'value, weight' "${names[@]}"
for type in 1:1 0.5:1 2:1 1:0.3 1:3 1:0.1 1:10; do click_row "${type/:/, }" --event_type="click:$type"; done

title 'Batch solvers, rank 30, C or l2 tuned: error% / seconds'
header 'solver, passes' "${names[@]}"
solvers=(pa sgd-absolute sgd-squared projected-gradient coordinate-descent multiplicative multiplicative-kl)
for solver in "${solvers[@]}"; do
  for passes in 1 3 5; do
    line "$solver, $passes" on_split 'error_percent seconds' --method="$solver" --rank=30 --tune --passes="$passes"
  done
done
line 'for comparison: biases, 1' on_split 'error_percent seconds' --method=biases
line 'for comparison: online, rank 30, 1' on_split 'error_percent seconds' --rank=30
all="$(IFS=,; echo "${solvers[*]}")"
for i in "${!names[@]}"; do
  "$eval" --json --data="${files[i]}" --min_rating="${minima[i]}" --rank=30 --tune --passes=5 --method="$all" \
    --plot="$plots/${slugs[i]}.svg" >"$work/plot.json"
done

title 'PA-I with factors >= 0 and without the bound: error% by C, rank 30, 5 passes'
header 'C, factors' "${names[@]}"
for c in 0.003 0.01 0.03 0.1 0.3 1; do
  for bound in true false; do
    label="$c, >= 0"
    [[ "$bound" == true ]] || label="$c, free"
    line "$label" on_split error_percent --method=pa --rank=30 --passes=5 --aggressiveness="$c" --non_negative="$bound"
  done
done

title "PA-I's three ways to the step: error% / seconds by C, rank 30, 5 passes"
header 'C, solver' "${names[@]}"
for c in 0.01 0.1 1; do
  for solver in exact bisection approximate; do
    line "$c, $solver" on_split 'error_percent seconds' --method=pa --rank=30 --passes=5 --aggressiveness="$c" \
      --solver="$solver"
  done
done

title 'Convergence of the three: error% / seconds by passes, rank 30'
header 'C, solver, passes' "${names[@]}"
for c in 0.01 0.1; do
  for solver in exact bisection approximate; do
    for passes in 1 2 3 5; do
      line "$c, $solver, $passes" on_split 'error_percent seconds' --method=pa --rank=30 --passes="$passes" \
        --aggressiveness="$c" --solver="$solver"
    done
  done
done

title 'online-pa-1: MAE / passive updates / seconds by epsilon'
header epsilon "${names[@]}"
for epsilon in 0 0.05 0.1 0.2 0.5 1; do
  line "$epsilon" on_split 'mae passive_share seconds' --method=online-pa-1 --epsilon="$epsilon"
done

# Topics of latest-small, the set that comes with titles and genres. Ten films of each.
topics() {
  "$eval" --json --data="${files[0]}" --split=none --rank=20 --topics=10 --titles=data/ml-latest-small/movies.csv "$@" |
    grep -v '^{'
}
# 2,000 topics of ten films at random, of those that have 20 ratings or more.
random_topics() {
  awk -F, "$random"'
    NR == FNR { ++ratings[$2]; next }
    ratings[$1] >= 20 { genres[n++] = $NF }
    END {
      for (i = 0; i < 20000; ++i) {
        if (i % 10 == 0) print "factor " i / 10
        print "  1  title  " genres[int(n * random())]
      }
    }' "${files[0]}" data/ml-latest-small/movies.csv
}
# How many topics, in so many parts, have a genre that more than half of the films are of; how many
# have one besides Drama and Comedy.
genre_topics() {
  awk -F'  ' -v parts="$1" '
    /^factor/ { ++topic; next }
    {
      for (i = split($NF, genres, "|"); i > 0; --i) {
        if (++films[topic, genres[i]] != 6) continue
        any += !is_counted[topic]++
        if (genres[i] !~ /^(Drama|Comedy)$/) other += !is_other[topic]++
      }
    }
    END { printf "%.1f / %.1f", any / parts, other / parts }'
}
topic_row() {
  local label="$1" seed
  shift
  row "$label" "$(for ((seed = first_seed; seed < first_seed + seeds; ++seed)); do topics --seed="$seed" "$@"; done | genre_topics "$seeds")"
}
observed=(--method=coordinate-descent --zeros=observed --l2=10 --passes=100)
clear=(--offset=0.1 --passes=20)
title 'Topics, rank 20: how many of 20 have a genre that more than half of ten films are of / one besides Drama and Comedy'
header method topics
row 'ten films at random' "$(random_topics | genre_topics 100)"
topic_row 'pa, 5 passes, C = .03' --method=pa --passes=5 --aggressiveness=0.03
topic_row 'coordinate-descent, 20 passes, l2 = 20' --method=coordinate-descent --passes=20 --l2=20
topic_row 'coordinate-descent, 100 passes, l2 = 10, zeros observed' "${observed[@]}"
topic_row 'online-pa-1, 1 pass' --method=online-pa-1
topic_row 'online, 1 pass'
topic_row 'online, 1 pass, offset .1' --offset=0.1
topic_row 'online, 20 passes, offset .1' "${clear[@]}"

# The first eight topics: the two genres that most of the ten films are of, and the six largest films.
topic_table() {
  header topic genres films
  topics "$@" | awk -F'  ' '
    function end_topic(   i, j, best, text) {
      for (i = 0; i < 2; ++i) {
        best = ""
        for (j in films) if (best == "" || films[j] > films[best] || (films[j] == films[best] && j < best)) best = j
        text = text (i ? ", " : "") best " " films[best]
        delete films[best]
      }
      printf "| %d | %s | %s |\n", topic, text, names
      names = ""
      split("", films)
    }
    topic > 8 { next }
    /^factor/ {
      if (topic > 0) end_topic()
      ++topic
      shown = 0
      next
    }
    {
      for (i = split($NF, genres, "|"); i > 0; --i) ++films[genres[i]]
      name = $(NF - 1)
      sub(/ \(.*/, "", name)
      if (match(name, /, (The|A|An)$/)) name = substr(name, RSTART + 2) " " substr(name, 1, RSTART - 1)
      if (++shown <= 6) names = names (shown > 1 ? "; " : "") name
    }'
}
title 'Topics of coordinate-descent, zeros observed'
topic_table "${observed[@]}"
title 'Topics of online, 20 passes, offset .1'
topic_table "${clear[@]}"
