#!/usr/bin/env bash
# The completion scripts in real shells: fish, and zsh at a terminal. (completion_test.cc has bash, and what is
# offered when.) Skipped where neither is installed.
#   shells_test.sh FACTORCTL
set -euo pipefail
PATH="$(dirname "$(realpath "$1")"):$PATH"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
touch 'ratings 1.csv' other.csv

missing=()
expect() {  # SHELL LINE EXPECTED ACTUAL
  if [[ "$4" != "$3" ]]; then
    printf '%s, "%s": expected "%s", found "%s"\n' "$@" >&2
    exit 1
  fi
}

# What fish offers for the last word of LINE.
fish_offers() {
  HOME="$folder" fish --no-config -c "factorctl completion fish | source; complete -C '$1'" | cut -f 1 | paste -s -d ' '
}
if command -v fish >/dev/null; then
  expect fish 'factorctl reco' 'recommend' "$(fish_offers 'factorctl reco')"
  expect fish 'factorctl import --format=' '--format=auto --format=csv --format=dat --format=tab' \
    "$(fish_offers 'factorctl import --format=')"
  expect fish 'factorctl import oth' 'other.csv' "$(fish_offers 'factorctl import oth')"
  expect fish '... --titles=o' '--titles=other.csv' "$(fish_offers 'factorctl recommend 15 --titles=o')"
else
  missing+=(fish)
fi

# LINE after the tabulator key. zsh completes at a terminal only: the line is printed by adding echo in front.
zsh_completes() {
  HOME="$folder" timeout 60 zsh -f -s "$1" <<'ZSH' | tr -d '\r' | sed -n 's/^<\(.*\)>$/\1/p'
    zmodload zsh/zpty
    zpty shell 'PS1= zsh -f -i'
    zpty -w shell 'autoload -U compinit; compinit -u -D; source <(factorctl completion zsh); echo rea""dy'
    zpty -r shell output '*ready*'
    zpty -w -n shell "$1"$'\t\001echo "<\005>"\n'
    zpty -r shell output $'*\n<*>\r\n*'
    print -r -- $output
ZSH
}
if command -v zsh >/dev/null; then
  expect zsh 'factorctl reco' 'factorctl recommend' "$(zsh_completes 'factorctl reco')"
  expect zsh 'factorctl import --format=c' 'factorctl import --format=csv' "$(zsh_completes 'factorctl import --format=c')"
  expect zsh 'factorctl import oth' 'factorctl import other.csv' "$(zsh_completes 'factorctl import oth')"
else
  missing+=(zsh)
fi

if [[ ${#missing[@]} -gt 0 ]]; then
  echo "skipped: no ${missing[*]} (tools/install_deps.sh --checks installs them)"
  exit 77
fi
