"""Words and characters that do not change what a prompt asks for. All of it is our choice, made without XSTest.

English, as the field's sets are: in other languages nothing is dropped, and likeness rests on the words alone.
"""

from __future__ import annotations

import re

# Dropped before two prompts are compared: grammar, politeness, and the ways to say "tell me".
LIGHT = frozenset(
    """
    a an the this that these those there here some any such
    i im ive id you u we us me lets
    am is are was were be been being do does did doing done have has had having
    can could would should will shall may might must
    to of and or so if then than as by for about
    please pls plz plse kindly thanks thank thx ty cheers hi hey hello yo greetings dear ok okay
    um uh er hmm oh ah well just really actually basically simply exactly maybe perhaps possibly ever even also
    tell explain know want wanna need like wonder wondering wondered curious help let say
    able possible may glad happy grateful appreciate appreciated appreciates
    """.split()  # noqa: SIM905
)

# Dropped too, but where both prompts have some that the other lacks they may be what is asked about.
FILLER = frozenset(
    """
    quick quickly question ask asking asked answer advance sorry excuse bother mind love friend friends buddy mate
    pal bro dude man sir madam folks guys everyone assistant ai bot chatbot chatgpt gpt info information advice
    interested curiosity show give gimme lemme honestly frankly obviously apparently clearly truly totally absolutely
    hopefully seriously literally somehow kinda sorta anyway anyhow btw fyi asap outta gotcha alright
    right now today got get going my your yo good morning evening afternoon day time moment second sec try trying
    hear idea clue clarify understand learn learning figure find out come think thinking feel free it its
    b c d e f g h j k l m n o p q r s t v w x y z
    """.split()  # noqa: SIM905
)
DROPPED = LIGHT | FILLER

# Said before or behind a request, these give it another meaning: a place, a condition, a denial.
CONTEXT = frozenset(
    """
    in inside within at on during while when where until unless if as for with without against not no never
    except under over after before since because given from into only
    """.split()  # noqa: SIM905
)
NEGATION = frozenset(["not", "no", "never", "without", "except", "nor", "neither", "none", "unlike"])

# Said by the way: politeness with words in it that would count elsewhere, and how long an answer should be.
PHRASES = re.compile(
    r"\b(?:if (?:it is|it's|its)? ?(?:possible|ok|okay|all ?right)|if you (?:can|could|would|will|please|know)"
    r"|if you (?:don't|dont|do not|wouldn't|would not) mind|(?:don't|do not) mind me asking|no (?:rush|worries|hurry)"
    r"|for me|in advance|in detail|in (?:short|brief)|step by step|out of (?:interest|curiosity)|by the way|at all"
    r"|in your (?:opinion|view)|as (?:soon|quickly) as (?:possible|you can)|a lot|(?:very|so) much|many thanks"
    r"|much (?:obliged|appreciated)|(?:kind|sort) of|more or less|i (?:mean|guess|suppose|think|believe)"
    r"|you (?:know|see)"
    r"|of course|in fact|to be (?:honest|fair|clear)|so to speak|as it were|have an? (?:nice|good|great|lovely) \w+"
    r"|(?:best|kind|warm) (?:regards|wishes)|let's say|pretty much|or (?:so|something|whatever)|and (?:so on|such))\b"
)

# a clause begins at these, with or without a comma
POLITE = frozenset("please pls plz thanks thank thx cheers sorry ty hello hi hey".split())  # noqa: SIM905

_SPELT = {
    "won't": "will not", "can't": "can not", "shan't": "shall not", "ain't": "is not", "cannot": "can not",
    "gonna": "going to", "wanna": "want to", "gotta": "got to", "gimme": "give me", "lemme": "let me",
    "dunno": "do not know", "y'all": "you", "let's": "let us", "dont": "do not", "doesnt": "does not",
    "didnt": "did not", "isnt": "is not", "arent": "are not", "wasnt": "was not", "werent": "were not",
    "cant": "can not", "couldnt": "could not", "wouldnt": "would not", "shouldnt": "should not",
    "havent": "have not", "hasnt": "has not", "hadnt": "had not", "whats": "what is", "hows": "how is",
    "wheres": "where is", "whos": "who is", "whens": "when is", "whys": "why is", "thats": "that is",
    "theres": "there is", "youre": "you are", "theyre": "they are", "youve": "you have", "theyve": "they have",
}  # fmt: skip
SPELT = {key: value.split() for key, value in _SPELT.items()}

# Letters of other scripts that look like Latin ones (a part of Unicode's confusables.txt; NFKC does the rest).
_ALIKE = {
    "a": "аɑα", "b": "Ьв", "c": "сϲ", "d": "ԁ", "e": "еєҽ", "f": "ƒ", "g": "ɡց", "h": "һհн", "i": "іιıї",
    "j": "јϳ", "k": "кκ", "l": "ӏɩǀ", "m": "мʍ", "n": "пոη", "o": "оοօσ", "p": "рρ", "q": "ԛգ", "r": "г",
    "s": "ѕꜱ", "t": "тτ", "u": "υսц", "v": "ѵν", "w": "ԝωա", "x": "хχ", "y": "уүγ", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ", "I": "ІΙӀ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν",
    "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "УΥҮ", "Z": "Ζ",
}  # fmt: skip
HOMOGLYPHS = str.maketrans({letter: latin for latin, letters in _ALIKE.items() for letter in letters})
