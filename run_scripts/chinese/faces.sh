#!/usr/bin/env bash
# Gather faces for lines of Simplified Chinese: Debian packages and npm packages of Fontsource, under free licences.
# usage: bash run_scripts/chinese/faces.sh DIR      (run `apt-get install` of $DEBIAN below first; needs npm, fonttools in $PYTHON)
#
# DIR/chinese gets one file (or link) a face, DIR/latin the Latin faces for mixed lines. Licences:
#   fonts-noto-cjk, fonts-noto-cjk-extra  SIL OFL 1.1        fonts-wqy-zenhei     GPL 2 with the font exception
#   fonts-lxgw-wenkai                     SIL OFL 1.1        fonts-wqy-microhei   Apache-2.0 or GPL 3 with the exception
#   fonts-smiley-sans                     SIL OFL 1.1        fonts-arphic-uming, -ukai, -gbsn00lp, -gkai00mp  Arphic PL
#   fonts-cns11643-kai, -sung             Open Government Data Licence of Taiwan / SIL OFL (their copyright files)
#   fonts-babelstone-han                  Arphic PL
#   @fontsource/*                         SIL OFL 1.1 (ZCOOL KuaiLe, QingKe HuangYou, XiaoWei, Ma Shan Zheng, Long Cang, ...)
set -euo pipefail
shopt -s inherit_errexit
out=$(mkdir -p "$1" && cd "$1" && pwd)
python=${PYTHON:-python3}
# DEBIAN: fonts-noto-cjk fonts-noto-cjk-extra fonts-wqy-zenhei fonts-wqy-microhei fonts-arphic-uming fonts-arphic-ukai
#   fonts-arphic-gbsn00lp fonts-arphic-gkai00mp fonts-lxgw-wenkai fonts-smiley-sans fonts-cns11643-kai
#   fonts-cns11643-sung fonts-babelstone-han
chinese=(zcool-kuaile zcool-qingke-huangyou zcool-xiaowei ma-shan-zheng long-cang)
latin=(arimo stix-two-text roboto inconsolata noto-serif oswald)
mkdir -p "$out/chinese" "$out/latin"

link() { # <name> <file>: a face by a short name, if it is installed
  [[ ! -f $2 ]] || ln -sf "$2" "$out/chinese/$1.${2##*.}"
}
share=/usr/share/fonts
for weight in Regular Bold Light Medium Black; do
  link "noto-sans-${weight,,}" "$share/opentype/noto/NotoSansCJK-$weight.ttc"
  link "noto-serif-${weight,,}" "$share/opentype/noto/NotoSerifCJK-$weight.ttc"
done
link zenhei "$share/truetype/wqy/wqy-zenhei.ttc"
link microhei "$share/truetype/wqy/wqy-microhei.ttc"
link uming "$share/truetype/arphic/uming.ttc"
link ukai "$share/truetype/arphic/ukai.ttc"
link song "$share/truetype/arphic-gbsn00lp/gbsn00lp.ttf"
link kai "$share/truetype/arphic-gkai00mp/gkai00mp.ttf"
link wenkai "$share/truetype/lxgw-wenkai/LXGWWenKai-Regular.ttf"
link wenkai-bold "$share/truetype/lxgw-wenkai/LXGWWenKai-Bold.ttf"
link smiley "$share/truetype/smiley-sans/SmileySans-Oblique.ttf"
link tw-kai "$share/truetype/cns11643/TW-Kai-98_1.ttf"
link tw-sung "$share/truetype/cns11643/TW-Sung-98_1.ttf"
link babelstone "$share/truetype/babelstone/BabelStoneHan.ttf"

if [[ ! -d $out/npm/node_modules ]]; then
  npm install --prefix "$out/npm.part" --ignore-scripts --no-audit --no-fund "${chinese[@]/#/@fontsource/}" \
    "${latin[@]/#/@fontsource/}"
  mv "$out/npm.part" "$out/npm"
fi
files=$out/npm/node_modules/@fontsource
for name in "${latin[@]}"; do
  cp "$files/$name/files/$name-latin-400-normal.woff" "$out/latin/$name.woff"
done
# Fontsource has a Chinese face in a hundred files of some characters each, and in one of all, compressed: as a TTF here.
"$python" - "$files" "$out/chinese" "${chinese[@]}" <<'PYTHON'
import sys
from pathlib import Path
from fontTools import ttLib

files, out, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
for name in names:
    target = out / f"{name}.ttf"
    if target.exists():
        continue
    whole = files / name / "files" / f"{name}-chinese-simplified-400-normal.woff"
    if whole.exists():
        font = ttLib.TTFont(whole)
        font.flavor = None
        font.save(target)
        print(name, len(font.getBestCmap()))
    else:
        print(name, "no whole file:", sorted(p.name for p in (files / name / "files").iterdir())[:3])
PYTHON
ls -l "$out/chinese" "$out/latin"
