"""Varied texts for parity and invariance: lengths 0 to 600 words, several scripts, emoji, control characters."""

from __future__ import annotations

import random

_TEXT = (
    "the a river bank rate of change under old bridges costs 3.14 €5,000 naïve co-operate don't U.S. http://x.org/a?b=1"
)
_WORDS = _TEXT.split(" ")


def _words(count: int) -> str:
    return " ".join(random.Random(count).choices(_WORDS, k=count))


VARIED = [
    "",
    " ",
    "\n\t  \r\n",
    "a",
    "The cat sat on the mat.",
    "  leading and trailing space  ",
    "UPPER lower MiXeD",
    "Ein Straßenfest in Köln – schön!",
    "Σήμερα βρέχει στην Αθήνα.",
    "Сегодня в Москве идёт снег.",
    "今日は雨が降っています。",
    "오늘은 비가 옵니다",
    "اليوم تمطر في القاهرة",
    "היום יורד גשם",
    "आज बारिश हो रही है",
    "วันนี้ฝนตก",
    "🙂🙃 🏳️‍🌈 👩‍👩‍👧‍👦",
    "zero\u200bwidth and non\u00a0breaking",
    "control \x00\x01\x07\x1b characters\x7f",
    "combining e\u0301 against é, full width Ａ, ligature ﬁ",
    "[CLS] [SEP] [MASK] </s> <s> <pad> <|endoftext|>",
    "....!!!???----",
    "12345678901234567890",
    "x" * 300,
    "long" + "long" * 400,
    *(_words(count) for count in (2, 5, 10, 20, 40, 80, 150, 240, 260, 300, 450, 600)),
]
