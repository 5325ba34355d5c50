"""Make the texts that the Chinese weights learn from: short.txt, medium.txt and lines.txt, one text a line.

    python run_scripts/chinese/texts.py --sources packages --out texts

`sources.PACKAGES` lists what the folder of sources may hold, as package managers deliver it, and its licences; what is
missing is left out with a warning. Single characters and words are balanced by rarity, so that every character of the
alphabet comes; most texts are natural windows of sentences; the rest follows rules: number plates, telephones, prices,
dates, addresses, forms, English, mixtures. The seed decides all of it.
"""

# ruff: noqa: RUF001  (full-width punctuation is what these texts have)
from __future__ import annotations

if not __package__:  # `python run_scripts/chinese/texts.py`, from any folder
    __import__("sys").path.insert(0, __file__.rsplit("/", 3)[0])

import dataclasses
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, NamedTuple

from bench.errors import run_cli
from bench.files import write_file
from bench.options import Bounds, Command
from models.data.charset import Charset
from models.rendering import lexicon
from run_scripts.chinese.sources import HAN, read_lexicon, read_places, read_texts, warn_of_missing

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
PLATE = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # letters of number plates, which have no I and no O
DIGITS = "0123456789"
ORDINALS = "一二三四五六七八九十"
BRACKETS = ("《》", "（）", "()", "“”", "【】", "「」", "『』", "[]", "〈〉", "〔〕", "‘’")


def listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


SHOPS = listed(
    "店 超市 酒店 宾馆 饭店 餐厅 火锅 烧烤 面馆 小吃 药房 大药房 诊所 医院 银行 公司 有限公司 集团 中心 广场 商场 "
    "大厦 花园 小区 学校 中学 小学 幼儿园 大学 公园 车站 地铁站 停车场 加油站 派出所 法院 邮局 书店 网吧 茶楼 美容 "
    "美发 理发 服装 鞋业 家具 建材 五金 电器 数码 手机 维修 打印 复印 图文 广告 装饰 物流 快递 旅行社 眼镜 珠宝 "
    "鲜花 水果 便利店 专卖店 旗舰店 俱乐部 影城 KTV"
)
STREETS = listed("路 街 大道 巷 胡同 弄 大街 东路 西路 南路 北路 中路 一路 二路 环路 村 镇 乡 新村")
FORMS = listed(
    "姓名 性别 地址 电话 日期 金额 单位 数量 单价 合计 总计 编号 备注 名称 规格 型号 品牌 产地 保质期 生产日期 有效期 "
    "成分 净含量 开户行 账号 户名 经办人 签字 盖章 申请人 联系人 传真 邮编 网址 税率 税额 价税合计 发票代码 发票号码 "
    "身份证号码 出生 民族 住址 签发机关 基金代码 基金名称 申购 赎回 份额 净值 交易账号 业务类型 确认金额 手续费 "
    "客户号 订单号 收货人 会员价 原价 现价 促销价 营业时间"
)
ENGLISH = Path(lexicon.__file__).with_name("words.txt.xz")


class Mixture(NamedTuple):
    """A file of texts: shares of kinds (names of methods of Makers), of lengths wanted, and the longest."""

    kinds: dict[str, float]
    lengths: dict[int, float]  # characters
    longest: int
    singles: int  # how often each character comes as a text of its own


SHORT = Mixture(
    {"rare": 45, "uniform": 10, "window": 10, "phrase": 20, "number": 7, "latin": 6, "plate": 2},
    {1: 1, 2: 3, 3: 3}, longest=4, singles=8,
)  # fmt: skip
MEDIUM = Mixture(
    {"rare": 22, "uniform": 6, "window": 24, "phrase": 18, "number": 10, "latin": 7, "plate": 5, "form": 4, "place": 4},
    {1: 1, 2: 4, 3: 5, 4: 6, 5: 6, 6: 6, 7: 4}, longest=8, singles=8,
)  # fmt: skip
LINES = Mixture(
    {"rare": 15, "uniform": 4, "window": 30, "phrase": 11, "number": 9, "latin": 5, "plate": 6, "form": 7, "place": 4,
     "mixed": 4, "bracketed": 5},
    {1: 3, 2: 9, 3: 8, 4: 13, 5: 9, 6: 9, 7: 7, 8: 7, 9: 5, 10: 13, 11: 4, 12: 3, 13: 2.5, 14: 2, 16: 2, 18: 1.5,
     20: 1.2, 23: 0.8, 25: 0.5}, longest=25, singles=2,
)  # fmt: skip


@dataclass
class TextOptions:
    """Make the texts that the Chinese weights learn from: short.txt, medium.txt and lines.txt."""

    sources: Path
    """Folder of packages, as package managers deliver them; what is missing is left out"""
    out: Path
    """Folder for the texts"""
    alphabet: str = "chinese"
    """As --data.charset of models.train; texts with other characters are left out"""
    english: Path = ENGLISH
    """English words, one a line, plain or .xz"""
    count: Annotated[int, Bounds(7)] = 350_000
    """Texts of lines.txt, besides single characters; the other files have three for seven of these"""
    seed: Annotated[int, Bounds(0)] = 1


COMMAND = Command(
    "texts.py", TextOptions, "--sources packages --out texts", start="python run_scripts/chinese/texts.py"
)


class Makers:
    """Sources, read once, and methods that make one text each; the length is wanted in characters, not promised."""

    def __init__(self, sources: Path, alphabet: str, english: Sequence[str], seed: int):
        self.rng, self.alphabet = random.Random(seed), set(alphabet)
        self.characters = [c for c in alphabet if c != " "]
        self.sentences = self.find_sentences(sources)
        self.words, frequencies, self.kinds = read_lexicon(sources, self.is_spelled)
        self.places = [p for p in read_places(sources) if self.is_spelled(p)] or self.words_of("ns")
        self.word_shares = list(accumulate(min(f, 3000) ** 0.75 for f in frequencies))
        self.english = [word for word in english if word.isascii()]
        usual = Counter(c for sentence in self.sentences for c in sentence)
        # Common ones weigh more, rare ones still come: a power of the count flattens it
        self.character_shares = list(accumulate((usual[c] + 3) ** 0.3 for c in self.characters))
        self.containing: dict[str, list[str]] = {}  # character -> words of 2 to 8 that have it
        for word in self.words:
            if 2 <= len(word) <= 8:
                for c in set(word):
                    self.containing.setdefault(c, []).append(word)

    def is_spelled(self, text: str) -> bool:
        return bool(text) and set(text) <= self.alphabet

    def words_of(self, kind: str) -> list[str]:
        """jieba's words of a kind: ns places, nt bodies, nr people; all words where it has none."""
        return self.kinds.get(kind, self.words)

    def find_sentences(self, sources: Path) -> list[str]:
        """Pieces of natural text, longest 400 characters, that the alphabet spells and that are mostly Chinese."""
        found: dict[str, None] = {}
        spelled = re.compile("[" + re.escape("".join(sorted(self.alphabet))) + "]+")
        for raw in read_texts(sources):
            for piece in re.split(r"[\r\n\t]+", raw):
                text = re.sub(r"\s+", " ", piece).strip()
                text = re.sub(r" ?(?<=[\u4e00-\u9fff，。、；：]) (?=[\u4e00-\u9fff，。、；：])", "", text)
                for part in map(str.strip, spelled.findall(text)):
                    if len(part) >= 2 and len(HAN.findall(part)) * 2 >= len(part):
                        found[part[:400]] = None
        return list(found)

    def make(self, kind: str, length: int, longest: int) -> str | None:
        """A text of a kind; None where what was made is not of the alphabet."""
        maker: Callable[[int], str] = getattr(self, kind)
        text = re.sub(r"\s+", " ", maker(length)).strip()[:longest].strip()
        return text if self.is_spelled(text) else None

    def make_all(self, count: int, mixture: Mixture) -> list[str]:
        """So many texts of a mixture and its single characters, shuffled."""
        kinds, shares = list(mixture.kinds), list(accumulate(mixture.kinds.values()))
        sizes, odds = list(mixture.lengths), list(mixture.lengths.values())
        made: list[str] = []
        while len(made) < count:
            kind = self.rng.choices(kinds, cum_weights=shares)[0]
            length = self.rng.choices(sizes, odds)[0]
            if text := self.make(kind, length, mixture.longest):
                made.append(text)
        texts = [c for c in self.characters for _ in range(mixture.singles)] + made
        self.rng.shuffle(texts)
        return texts

    def window(self, length: int) -> str:
        """A piece of a sentence: from the beginning of a clause, or from anywhere, as in synthetic public sets."""
        for _ in range(20 if self.sentences else 0):
            sentence = self.rng.choice(self.sentences)
            if len(sentence) < length:
                continue
            start = self.rng.randrange(len(sentence) - length + 1)
            if self.rng.random() < 0.5:
                begins = [0] + [m.end() for m in re.finditer("[，。；！？：、]", sentence)]
                start = self.rng.choice(begins)
            text = sentence[start : start + length].strip()
            if len(text) >= max(length - 2, 1):
                return text
        return self.phrase(length)

    def word(self) -> str:
        return self.rng.choices(self.words, cum_weights=self.word_shares)[0]

    def phrase(self, length: int) -> str:
        """Words after one another, now and then with punctuation, cut at the length."""
        text = ""
        while len(text) < length:
            text += self.word()
            if self.rng.random() < 0.12:
                text += self.rng.choice("，。、，。、；：：！？）（《》“”·—/-+()")
        return text[:length]

    def rare(self, length: int) -> str:
        """Characters balanced by rarity: words that have one of them, or a string of them."""
        some = self.rng.choices(self.characters, cum_weights=self.character_shares, k=length)
        if self.rng.random() < 0.5 and (words := self.containing.get(some[0])):
            text = self.rng.choice(words)
            while len(text) < length - 1 and self.rng.random() < 0.8:
                text += self.rng.choice(self.containing.get(self.rng.choice(some)) or [some[0]])
            return text[: max(length, 2)]
        return "".join(some)

    def uniform(self, length: int) -> str:
        return "".join(self.rng.choices(self.characters, k=length))

    def plate(self, _: int) -> str:
        """A number plate: of a car, one in 14 of an electric one, a few of teachers, police and others."""
        r = self.rng
        text = r.choice(PROVINCES + "皖苏粤京浙鲁") + r.choice(PLATE)
        if r.random() < 0.07:
            return text + r.choice("DF") + r.choice(PLATE + DIGITS) + self.digits(4)
        text += "".join(r.choices(PLATE + DIGITS * 4, k=5))
        return text[:-1] + r.choice("学警挂港澳领") if r.random() < 0.02 else text

    def digits(self, count: int) -> str:
        return "".join(self.rng.choices(DIGITS, k=count))

    def number(self, _: int) -> str:
        """Something with digits, Chinese ones too, as on receipts, screens, signs and in lists."""
        r = self.rng
        day = r.randint(1950, 2030), r.randint(1, 12), r.randint(1, 28)
        highest = r.choice([r.random() * 10, r.random() * 100, r.random() * 1000, r.random() * 1e5])
        price = f"{highest:.{r.choice([0, 1, 2, 2, 2])}f}"
        thousands = f"{r.randint(1000, 99999999):,}" + r.choice(["", ".00", "." + self.digits(2)])
        makers = [*self.telephones(), *self.prices(price, thousands), *self.dates(*day), *self.codes()]
        return r.choice([*makers, *self.numerals(), *self.items()])()

    def telephones(self) -> list[Callable[[], str]]:
        r, d = self.rng, self.digits
        return [
            lambda: "1" + r.choice("3456789") + d(9),
            lambda: r.choice([f"0{d(2)}-{d(8)}", f"0{d(3)}-{d(7)}", f"400-{d(3)}-{d(4)}", f"(0{d(2)}){d(8)}"]),
            lambda: (
                r.choice(["电话：", "电话:", "手机", "TEL:", "Tel: ", "热线：", "传真："])
                + r.choice(["1" + d(10), f"0{d(3)}-{d(8)}"])
            ),
        ]

    def prices(self, price: str, thousands: str) -> list[Callable[[], str]]:
        units = ["元", "元/斤", "万元", "元起", "%", "％", "kg", "g", "ml", "mm", "cm", "℃", "折"]
        return [
            lambda: self.rng.choice(["￥", "￥", "$", ""]) + price,
            lambda: price + self.rng.choice(units),
            lambda: thousands,
            lambda: price,
            lambda: thousands + "元",
            lambda: self.digits(self.rng.randint(1, 6)),
            lambda: self.digits(self.rng.randint(6, 18)),
        ]

    def dates(self, year: int, month: int, day: int) -> list[Callable[[], str]]:
        iso = f"{year}-{month:02}-{day:02}"

        def time() -> str:
            return f"{self.rng.randint(0, 23)}:{self.rng.randint(0, 59):02}"

        def exact_time() -> str:
            hour, minute, second = (self.rng.randint(0, most) for most in (23, 59, 59))
            return f"{hour:02}:{minute:02}:{second:02}"

        return [
            lambda: f"{year}年{month}月{day}日",
            lambda: iso,
            lambda: f"{year}/{month}/{day}",
            lambda: f"{year}.{month:02}.{day:02}",
            lambda: iso.replace("-", ""),
            lambda: f"{iso} {exact_time()}",
            lambda: time() + self.rng.choice(["", f"-{time()}"]),
        ]

    def codes(self) -> list[Callable[[], str]]:
        r = self.rng
        return [
            lambda: "".join(r.choices(DIGITS * 3 + PLATE, k=r.randint(4, 16))),
            lambda: r.choice(PLATE) + self.digits(r.randint(1, 10)),
        ]

    def numerals(self) -> list[Callable[[], str]]:
        """Chinese ones: of sums of money, of counts, of chapters."""
        r = self.rng
        sums, counts = "零壹贰叁肆伍陆柒捌玖拾佰仟万亿", "一二三四五六七八九十百千万零〇两"
        units = ["元", "个", "年", "月", "日", "号", "楼", "层", "章", "、", ""]
        return [
            lambda: "".join(r.choices(sums, k=r.randint(2, 9))) + r.choice(["元整", "圆整", "元", "角", ""]),
            lambda: "".join(r.choices(counts, k=r.randint(1, 5))) + r.choice(units),
            lambda: f"第{self.ordinal(99)}{r.choice('章节条页届期回次名组批')}",
        ]

    def ordinal(self, most: int) -> str:
        return self.rng.choice([ORDINALS[self.rng.randrange(10)], str(self.rng.randint(1, most))])

    def items(self) -> list[Callable[[], str]]:
        """Items of a list, and a bank card's number."""
        r = self.rng
        return [
            lambda: r.choice("①②③④⑤⑥⑦⑧⑨⑩") + self.phrase(r.randint(2, 8)),
            lambda: r.choice("(（") + self.ordinal(20) + r.choice(")）") + self.phrase(r.randint(0, 8)),
            lambda: f"{r.randint(1, 20)}{r.choice(['.', '、', '.', ') '])}" + self.phrase(r.randint(2, 8)),
            lambda: " ".join(self.digits(4) for _ in range(4)),
        ]

    def latin(self, _: int) -> str:
        """English words, an address of the web or of mail, or some capitals."""
        r = self.rng
        word, kind = r.choice(self.english), r.random()
        if kind < 0.15:
            site = r.choice(self.english) + r.choice(["", r.choice(self.english)])[:8]
            begin = r.choice(["www.", "http://www.", "https://", "", "WWW."])
            return begin + site[:12] + r.choice([".com", ".cn", ".com.cn", ".net", ".org"])
        if kind < 0.22:
            name = word[:9] + r.choice(["", str(r.randint(1, 999))])
            return f"{name}@{r.choice(['163', 'qq', '126', 'sina', r.choice(self.english)[:7]])}.com"
        if kind < 0.3:
            return "".join(r.choices(PLATE + "IO", k=r.randint(1, 5)))
        words = [word]
        while r.random() < 0.4 and sum(map(len, words)) < 18:
            words.append(r.choice(self.english))
        text = word + "".join(r.choice([" ", " ", " ", "-", " & ", ", "]) + other for other in words[1:])
        text = r.choice([str.lower, str.upper, str.title, str.capitalize])(text)
        return text + r.choice(["", "", "", ".", "!", "?", ":"])

    def mixed(self, length: int) -> str:
        """Chinese with Latin or a number before or behind it."""
        r = self.rng
        parts = [self.phrase(r.randint(1, max(length // 2, 2)))]
        parts.append(r.choice([self.latin, self.number])(length))
        if r.random() < 0.4:
            parts.append(self.phrase(r.randint(1, 5)))
        if r.random() < 0.4:
            r.shuffle(parts)
        return r.choice(["", "", " ", "：", ":"]).join(parts)

    def place(self, _: int) -> str:
        """A shop, an address, a body or a place, as signs have them."""
        r = self.rng
        place = r.choice(self.words_of("ns") if r.random() < 0.5 else self.places)
        kind = r.random()
        if kind < 0.3:
            return place + self.word() + r.choice(SHOPS)
        if kind < 0.5:
            return self.word() + r.choice(SHOPS)
        if kind < 0.75:
            street = place + self.word()[:3] + r.choice(STREETS)
            house = f"{r.randint(1, 999)}号"
            room = f"{r.randint(1, 99)}号{r.randint(1, 30)}栋{r.randint(101, 3204)}室"
            return street + r.choice(["", house, room])
        if kind < 0.85:
            return r.choice(self.words_of("nt"))
        return place if kind < 0.93 else self.word() + r.choice(STREETS)

    def form(self, length: int) -> str:
        """The name of a field of a form, and mostly its value."""
        r = self.rng
        name = r.choice(FORMS) if r.random() < 0.5 else self.phrase(r.randint(2, 6))
        if r.random() < 0.35:
            return name + r.choice(["", "：", ":", "/" + r.choice(FORMS)])
        values: list[Callable[[int], str]] = [
            self.number, self.number, lambda _: self.phrase(r.randint(2, 8)), lambda _: r.choice(self.words_of("nr")),
            self.place,
        ]  # fmt: skip
        value = r.choice(values)(length)
        return name + r.choice(["：", ":", "： ", " ", ""]) + value

    def bracketed(self, length: int) -> str:
        left, right = self.rng.choice(BRACKETS)
        inside = self.phrase(max(length - 2, 1))
        before, behind = self.rng.choice(["", "", self.phrase(2)]), self.rng.choice(["", "", "：", ":", self.phrase(3)])
        return before + left + inside + right + behind


def write_texts(path: Path, texts: Sequence[str], characters: Sequence[str]) -> None:
    """Write one text a line, and say how many there are and which characters they lack."""
    write_file(path, "".join(f"{text}\n" for text in texts))
    counts = Counter(c for text in texts for c in text)
    missing = [c for c in characters if not counts[c]]
    mean = sum(map(len, texts)) / len(texts)
    few = sum(counts[c] < 10 for c in characters)
    print(f"{path.name}: {len(texts):,} texts of {mean:.1f} characters, {len(counts):,} characters; "
          f"{len(missing)} missing, {few} fewer than 10 times", flush=True)  # fmt: skip


def read_english(path: Path) -> list[str]:
    return [word for line in lexicon.read_lines(path) for word in line.split()]


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    warn_of_missing(options.sources)
    alphabet = Charset.named(options.alphabet).characters
    makers = Makers(options.sources, alphabet, read_english(options.english), options.seed)
    print(f"{len(makers.sentences):,} sentences, {len(makers.words):,} words, {len(makers.english):,} English words")
    few = options.count * 3 // 7
    for name, count, mixture in (("short", few, SHORT), ("medium", few, MEDIUM), ("lines", options.count, LINES)):
        write_texts(options.out / f"{name}.txt", makers.make_all(count, mixture), makers.characters)
    about = json.dumps(dataclasses.asdict(options), default=str, indent=1)
    write_file(options.out / "about.json", about + "\n")


if __name__ == "__main__":
    run_cli(main, "texts.py")
