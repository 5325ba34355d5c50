"""How many samples the public data sets have, split by split: `models.prepare --audit --expect iiit5k` compares.

A download that broke off, a list that was cut, a benchmark in another version: each looks like a data set and moves a
number. Where the field uses several versions of a test set all are here, and what was left out. More: docs/datasets.md.
"""

from __future__ import annotations

KNOWN: dict[str, dict[str, dict[int, str]]] = {
    "synth90k": {
        "train": {7_224_612: ""},
        "val": {802_734: ""},
        "test": {891_927: ""},
    },
    "iiit5k": {"train": {2_000: ""}, "test": {3_000: ""}},
    "svt": {"train": {257: ""}, "test": {647: ""}},
    "ic13": {
        "train": {849: "", 848: "the field's LMDB"},
        "test": {
            1_095: "all words",
            1_015: "without words that are not alphanumeric",
            857: "without those, and of three characters at least",
        },
    },
    "ic15": {
        "train": {4_468: ""},
        "test": {2_077: "all words", 1_811: "without words that are not alphanumeric, or are turned or curved much"},
    },
    "svtp": {"test": {645: ""}},
    "cute80": {"test": {288: ""}},
    "iam": {"train": {96_456: "the words that are segmented rightly, of 115,320"}},
}


def compare_count(name: str, split: str, samples: int) -> tuple[bool, str]:
    """Whether a split has as many samples as that data set's, and the line that says so.

    split: "" for data without splits of its own, which may be any one of them.
    """
    splits = {split: KNOWN[name].get(split, {})} if split else KNOWN[name]
    found = [(of, versions[samples]) for of, versions in splits.items() if samples in versions]
    if found:
        of, kind = found[0]
        return True, f"{samples:,} samples, as {name} {of} has{f' ({kind})' if kind else ''}"
    known = [(of, count, kind) for of, versions in splits.items() for count, kind in versions.items()]
    if not known:
        return False, f"{samples:,} samples of {split}, a split that {name} does not have"
    wanted = ", or ".join(f"{of} {count:,}{f' ({kind})' if kind else ''}" for of, count, kind in known)
    return False, f"{samples:,} samples, and {name} has {wanted}"
