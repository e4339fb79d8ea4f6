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
    um umm uh uhm er err erm hm hmm mm mhm oh ah eh huh ahem yo ya yeah yes yep lol xoxo tbh imo imho ngl tia tyvm tysm
    thnx tnx well just really actually basically simply exactly maybe perhaps possibly ever even also
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
    hear idea ideas clue clarify understand learn learning figure find out come think thinking feel free it its one
    briefly concisely urgent urgently respond reply advise dear stranger pointers obliged thankful gladly
    frankly essentially ideally fundamentally ultimately presumably supposedly admittedly evidently naturally surely
    certainly definitely probably practically virtually incidentally fortunately luckily indeed though tho however
    nevertheless nonetheless anyways regardless quite very
    b c d e f g h j k l m n o p q r s t v w x y z
    """.split()  # noqa: SIM905
)
DROPPED = LIGHT | FILLER
ASKING = frozenset("what who whom whose when where why which how".split())  # noqa: SIM905

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
    r"|(?:best|kind|warm) (?:regards|wishes)|let's say|pretty much|or (?:so|something|whatever)|and (?:so on|such)"
    r"|let (?:me|us) see|let's see|as it were|if i may(?: ask)?|i beg (?:of )?you|i(?:'m| am) begging you"
    r"|(?:i )?hope you(?:'re| are)? (?:doing )?(?:well|fine)|how are you(?: doing)?(?: today)?|what do you think"
    r"|in (?:one|a|two|a few|few) (?:words?|lines?|sentences?|paragraphs?)|or not(?=\W*$)"
    r"|y'?know|like i said|shall we say|for the record|just so (?:i|we) know|over and out|on top"
    r"|with (?:sugar|a cherry)"
    r"|by (?:any )?chance|dare i say|if you (?:will|would be so kind)|over to you|nothing more|end of question|all ears"
    r"|much love|no pressure|take your time|at your convenience|be quick about it"
    r"|(?:when(?:ever)?|if) you (?:can|get a (?:chance|moment)|have (?:a moment|(?:some )?time))"
    r"|(?:serious|genuine|honest|quick|real) question|p\.? ?s\.?(?= ))\b"
)

# "Ways to …", where "how to …" is meant.
HOW = re.compile(r"^\W*(?:the |some )?ways? (?:to|of)\b")

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
    "ur": "your", "hw": "how", "wat": "what", "wut": "what", "wot": "what", "bc": "because", "cuz": "because",
    "coz": "because", "bcuz": "because", "abt": "about", "ppl": "people", "thru": "through", "sth": "something",
    "smth": "something", "sum1": "someone", "some1": "someone", "any1": "anyone", "every1": "everyone", "b4": "before",
    "gud": "good", "da": "the", "em": "them", "'em": "them", "tryna": "trying to",
    "hafta": "have to", "useta": "used to", "lotta": "lot of",
    "whaddya": "what do you", "whatcha": "what are you", "cos": "because", "wud": "would", "cud": "could",
    "shud": "should", "cn": "can", "dat": "that",
    "theres": "there is", "youre": "you are", "theyre": "they are", "youve": "you have", "theyve": "they have",
}  # fmt: skip
SPELT = {key: value.split() for key, value in _SPELT.items()}

# British and American spelling, endings and words: where two words come to the same form, they are one.
SPELLINGS = (
    (
        re.compile(r"(?<=[a-z]{3})our(?=(?:s|ed|ing|able|ably|ful|less|ite|ites|al|er|ers|hood|ist|ists)?$)"),
        "or",
    ),
    (re.compile(r"(?<=[a-z]{3})is(?=(?:e|es|ed|er|ers|ing|ation|ations)$)"), "iz"),
    (re.compile(r"(?<=[a-z]{2})ys(?=(?:e|es|ed|er|ers|ing)$)"), "yz"),
    (re.compile(r"(?<=[a-z]{2}[bct])re(?=s?$)"), "er"),
    (re.compile(r"(?<=[a-z]{2})enc(?=(?:e|es)$)"), "ens"),
    (re.compile(r"(?<=[a-z]{3})ogue(?=s?$)"), "og"),
    (re.compile(r"(?<=[a-z]{3})([aeiou])ll(?=(?:ed|ing|er|ers)$)"), r"\1l"),
    (re.compile(r"(?<=[a-z])(?:ae|oe)(?=[dst][a-z]{2})"), "e"),
)
BRITISH = {
    "programme": "program", "programmes": "programs", "grey": "gray", "greys": "grays", "cheque": "check",
    "cheques": "checks", "ageing": "aging", "judgement": "judgment", "jewellery": "jewelry", "skilful": "skillful",
    "fulfil": "fulfill", "tyre": "tire", "tyres": "tires", "aluminium": "aluminum", "mum": "mom",
    "practise": "practice", "moustache": "mustache", "plough": "plow", "sceptic": "skeptic", "sulphur": "sulfur",
    "aeroplane": "airplane", "pyjamas": "pajamas",
}  # fmt: skip

# whole numbers in words; not "one", which is a pronoun too
NUMBERS = {
    name: str(number)
    for names, numbers in (
        ("zero - two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
         "seventeen eighteen nineteen", range(20)),
        ("twenty thirty forty fifty sixty seventy eighty ninety hundred", range(20, 101, 10)),
    )
    for name, number in zip(names.split(), numbers, strict=True)
    if name != "-"
}  # fmt: skip
IN_WORDS = {number: name for name, number in NUMBERS.items()}

# signs and digits that stand for letters among letters
LEET = {"0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "bg", "7": "t", "8": "b", "9": "g"}
# digits that stand for a word by their sound
SOUNDS = {"2": ("to", "too"), "4": ("for",)}
