"""Letters folded to plain ones: what a person reads as one letter becomes one, in whatever sign it is written.

Unicode's compatibility forms and accents are taken off by normalisation; letters of other scripts that look like
Latin ones by a table (a part of Unicode's confusables.txt); strokes, hooks, small capitals, squares and circles by
the characters' own names. Our choice.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ALIKE = {
    "a": "аɑαꭺꓮᎪ", "b": "ЬьвβᏴꓐᏼ", "c": "сϲᏟꓚⅽꮯⲥ", "d": "ԁðᎠꓓꭰ", "e": "еєҽεэᎬꓰꭼ", "f": "ƒꓝ", "g": "ɡցᏀꓖԍᏳ",
    "h": "һհнᎻꓧꮋ", "i": "іιıїɩᎥꓲꭵᏆ", "j": "јϳᎫꓙꭻ", "k": "кκᏦꓗⲕ", "l": "ӏǀᏞꓡꮮ", "m": "мʍᎷꓟꮇⲙ", "n": "пոηŋꓠⲛ",
    "o": "оοօσөⲟꓳ", "p": "рρᏢꓑꮲⲣ", "q": "ԛգ", "r": "гᎡꓣᏒꭱ", "s": "ѕꜱᏚꓢꮪ", "t": "тτᎢꓔꭲⲧ", "u": "υսцʉꓴ",
    "v": "ѵνᏙꓦᏤꮩ", "w": "ԝωաѡᏔꓪꮃᎳ", "x": "хχꓫⲭ", "y": "уүγчᎩꓬꮍ", "z": "ᴢᏃꓜꮓ",
    "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ", "I": "ІΙӀ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν",
    "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "УΥҮ", "Z": "Ζ",
}  # fmt: skip
_HOMOGLYPHS = str.maketrans({letter: latin for latin, letters in _ALIKE.items() for letter in letters})
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼʹ´`＇", "'"))
_MARKS = re.compile(r"[\u0300-\u036f\u0489\u20d0-\u20f0]")
_FORMAT = re.compile(r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
                     r"\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]")  # fmt: skip
# a symbol that is no punctuation, among letters, stands for one of them
_SYMBOLS = re.compile(
    r"(?<=[^\W\d_])[\u00a2-\u00a9\u00ae\u20a0-\u20cf\u2100-\u214f\u2190-\u2bff](?=[^\W\d_])"
)
UNKNOWN = "\u02a0"  # a letter that no prompt has
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_NAMED = re.compile(
    r"(?:LATIN (?:(?:SMALL|CAPITAL) LETTER|LETTER SMALL CAPITAL)|(?:CROSSED )?(?:NEGATIVE )?(?:CIRCLED|SQUARED) LATIN "
    r"CAPITAL LETTER|REGIONAL INDICATOR SYMBOL LETTER|MODIFIER LETTER (?:SMALL|CAPITAL)) "
    r"(?:(?:TURNED|REVERSED|SCRIPT|INSULAR|OPEN|CLOSED|DOTLESS|BLACKLETTER|BARRED|SIDEWAYS) )*([A-Z])(?: WITH .*)?"
)


def fold(text: str) -> str:
    """NFKC, look-alike letters as Latin ones, no invisible characters, no accents, casefolded."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", _FORMAT.sub("", text).translate(_APOSTROPHES))
    text = unicodedata.normalize("NFD", text.translate(_HOMOGLYPHS))
    text = unicodedata.normalize("NFC", _MARKS.sub("", text))
    text = _FOREIGN.sub(_latin, text).casefold()
    return _SYMBOLS.sub(UNKNOWN, text)


def _latin(sign: re.Match[str]) -> str:
    return _by_name(sign.group())


@lru_cache(maxsize=1 << 14)
def _by_name(letter: str) -> str:
    """The Latin letter that the character's name names; the character where it names none."""
    named = _NAMED.fullmatch(unicodedata.name(letter, ""))
    return named[1].lower() if named else letter
