# ruff: noqa: E501, E701, E702, N806, UP031, B905, SIM905 (tables of words, and a line or two per kind)
# fmt: off
"""Seventy kinds of edits that keep a prompt's meaning, in four lists, each written before it was first run.

None of the kinds was known to the code when its list was first run: what was found then stands in docs/data.md. What
the lists showed led to changes, so they count as looked at since. Every function takes a prompt and dice, and gives
the edited prompt, or None where the kind does not apply.
"""

from __future__ import annotations

import html
import json
import random
import re
import unicodedata
from collections.abc import Callable

Edit = Callable[[str, random.Random], str | None]

def lower(t: str) -> str: return t[:1].lower()+t[1:]
def some_word(t: str, d: random.Random, least: int = 4) -> re.Match[str] | None:
    f=list(re.finditer(r"[A-Za-z]{%d,}"%least,t)); return d.choice(f) if f else None


def fullwidth(t: str, d: random.Random) -> str | None: return "".join(chr(ord(c)+0xFEE0) if "!"<=c<="~" else c for c in t)


def zwj(t: str, d: random.Random) -> str | None: return "".join(c+d.choice("\u200d\u200c\u2060\u2063\ufe0f")*(d.random()<.2) for c in t)


def doubled(t: str, d: random.Random) -> str | None:
    m=some_word(t,d)
    if not m: return None
    w=m.group(); i=d.randrange(len(w)); return t[:m.start()]+w[:i]+w[i]+w[i:]+t[m.end():]


def stretched(t: str, d: random.Random) -> str | None:
    m=some_word(t,d)
    if not m: return None
    w=m.group(); i=d.randrange(len(w)); return t[:m.start()]+w[:i]+w[i]*d.randrange(2,5)+w[i:]+t[m.end():]


def swapped(t: str, d: random.Random) -> str | None:
    m=some_word(t,d)
    if not m: return None
    w=m.group(); i=d.randrange(len(w)-1); return t[:m.start()]+w[:i]+w[i+1]+w[i]+w[i+2:]+t[m.end():]
BRIT=[(r"iz(e|es|ed|ing|ation|ations)\b",r"is\1"),(r"\b(col|fav|behavi|lab|hon|neighb|harb|rum|hum|flav)or",r"\1our"),
 (r"\bdefense","defence"),(r"\boffense","offence"),(r"\blicense","licence"),(r"\bcenter","centre"),(r"\bprogram\b","programme"),
 (r"\bcheck(s?)\b",r"cheque\1"),(r"\bgray\b","grey"),(r"yz(e|ed|ing)\b",r"ys\1"),(r"\btheater","theatre"),(r"\bdialog\b","dialogue"),
 (r"([aeiou])l(ed|ing|er)\b",r"\1ll\2"),(r"\b(catal|anal)og\b",r"\1ogue"),(r"\bskill(ful)","skilful"),(r"\baging\b","ageing"),(r"\bjewelry","jewellery")]


def british(t: str, d: random.Random) -> str | None:
    n=t
    for a,b in BRIT: n=re.sub(a,b,n)
    return n if n!=t else None
NUM="zero one two three four five six seven eight nine ten eleven twelve".split()


def numbers(t: str, d: random.Random) -> str | None:
    n=re.sub(r"\b(\d{1,2})\b",lambda m: NUM[int(m[1])] if int(m[1])<13 else m[0],t)
    for i,w in enumerate(NUM[:13]):
        if n==t: n=re.sub(rf"\b{w}\b",str(i),n) if i>1 else n
    return n if n!=t else None


def quotes(t: str, d: random.Random) -> str | None: return d.choice(['"{}"','“{}”',"'{}'","«{}»","```{}```","‘{}’","\"{}\" - answer this"]).format(t)
LEET=dict(zip("aeiost","431057"))


def leet(t: str, d: random.Random) -> str | None: return "".join(LEET[c.lower()] if c.lower() in LEET and d.random()<.5 else c for c in t)


def leet_full(t: str, d: random.Random) -> str | None: return "".join(LEET.get(c.lower(),c) for c in t)
ADV=re.compile(r"\b(\w+ly)\b")


def adverb_moved(t: str, d: random.Random) -> str | None:
    m=ADV.search(t)
    if not m or m.group(1).lower() in ("only","family","supply","apply","reply","ally","fly","early","july","italy","assembly","daily"): return None
    rest=(t[:m.start()]+t[m.end():]).replace("  "," ")
    body=rest.rstrip("?.! "); tail=rest[len(body):].strip()
    return body+" "+m.group(1).lower()+tail


def could_u(t: str, d: random.Random) -> str | None: return d.choice(["could u {}","can u {}","wud u pls {}","cud u tell me {}","cn u {}"]).format(lower(t))


def ellipses(t: str, d: random.Random) -> str | None: return d.choice([t.rstrip("?.!")+"...", "... "+t, t.replace(" ","... ",2), t.replace(" "," … ",1), t+" ...?"])


def emoji(t: str, d: random.Random) -> str | None:
    e=d.choice("😀🙏🔥💀👍🤔😈❤")
    ws=t.split(); i=d.randrange(len(ws)+1)
    return d.choice([t+" "+e, e+t, " ".join([*ws[:i], e, *ws[i:]]), t+e*3])
A: dict[str, Edit] = {"full-width letters":fullwidth,"zero-width joiners":zwj,"a doubled letter":doubled,"a stretched letter":stretched,"neighbouring letters swapped":swapped,
 "British spelling":british,"numbers as words":numbers,"quotes around":quotes,"appended thanks":lambda t,d:t+d.choice([" thanks"," THANKS","\nthanks!"," - thanks"," thx"," ty"," tyvm"]),
 "ALL CAPS":lambda t,d:t.upper(),"leetspeak, half":leet,"leetspeak, all":leet_full,"adverb moved":adverb_moved,"could u":could_u,"ellipses":ellipses,"emoji":emoji}

SMS={r"\byou\b":"u",r"\byour\b":"ur",r"\bare\b":"r",r"\bfor\b":"4",r"\bto\b":"2",r"\bplease\b":"plz",r"\bwhat\b":"wat",r"\bwith\b":"w/",r"\band\b":"&",r"\bbecause\b":"bc",r"\bwithout\b":"w/o",r"\bsomeone\b":"some1",r"\bpeople\b":"ppl",r"\bhow\b":"hw",r"\bthe\b":"da",r"\babout\b":"abt"}


def sms(t: str, d: random.Random) -> str | None:
    n=t
    for a,b in SMS.items(): n=re.sub(a,b,n,flags=re.I)
    return n if n!=t else None


def markdown(t: str, d: random.Random) -> str | None:
    m=some_word(t,d); w=m.group() if m else None
    opts=["# "+t,"> "+t,"- "+t,"1. "+t,"**"+t+"**","`"+t+"`"]
    if w: opts+=[t[:m.start()]+f"**{w}**"+t[m.end():], t[:m.start()]+f"_{w}_"+t[m.end():]]
    return d.choice(opts)


def labelled(t: str, d: random.Random) -> str | None: return d.choice(["Q: {}","Question: {}","User: {}","{}\nA:","Q: {}\nA:","Prompt: {}","Instruction: {}","### Instruction:\n{}\n### Response:","[Question] {}","Task: {}"]).format(t)


def markup(t: str, d: random.Random) -> str | None:
    return d.choice(["<p>{}</p>","<b>{}</b>","{}<br>","<div>{}</div>"]).format(html.escape(t))
ACC={"a":"áàâäãåā","e":"éèêëē","i":"íìîïī","o":"óòôöõø","u":"úùûüū","c":"ç","n":"ñ","y":"ý","s":"š","z":"ž","l":"ł","d":"đ"}


def accents(t: str, d: random.Random) -> str | None: return "".join(d.choice(ACC[c]) if c in ACC and d.random()<.3 else c for c in t)


def maths(t: str, d: random.Random) -> str | None:
    base=d.choice([0x1d400,0x1d434,0x1d5a0,0x1d5d4,0x1d670])
    def f(c: str) -> str:
        if "A"<=c<="Z": r=chr(base+ord(c)-65)
        elif "a"<=c<="z": r=chr(base+26+ord(c)-97)
        else: return c
        return r if unicodedata.name(r,"") else c
    return "".join(map(f,t))


def circled(t: str, d: random.Random) -> str | None:
    base=d.choice([0x24b6,0x1f150,0x1f130,0x1f170])
    return "".join(chr(base+ord(c.upper())-65) if c.isascii() and c.isalpha() else c for c in t)


def joined(t: str, d: random.Random) -> str | None: return d.choice(["_","-","","/","."]).join(t.split())


def spaced(t: str, d: random.Random) -> str | None:
    m=some_word(t,d)
    if not m: return None
    return t[:m.start()]+d.choice(" .-*_").join(m.group())+t[m.end():]


def spaced_all(t: str, d: random.Random) -> str | None: return " ".join(c if c!=" " else " " for c in t)


def vowel_lost(t: str, d: random.Random) -> str | None:
    m=some_word(t,d,5)
    if not m: return None
    w=m.group(); v=[i for i in range(1,len(w)) if w[i].lower() in "aeiou"]
    if not v: return None
    i=d.choice(v); return t[:m.start()]+w[:i]+w[i+1:]+t[m.end():]


def two_slips(t: str, d: random.Random) -> str | None:
    a=swapped(t,d); return a and vowel_lost(a,d)
OPEN_B=("I'd be grateful if you could tell me ","Is it possible to know ","For a school project: ","I have a question for you. ","Let me ask you something: ","Here is my question: ","I'm really curious, ","Can somebody tell me, ","Pray tell, ","Ok google, ","Hello! Hope you're doing well. ","Real talk: ","Just out of interest, ","I need to know this: ","Asking for a friend: ","Respond to the following: ")
CLOSE_B=(" Answer briefly."," It's urgent!!"," Please respond soon."," Keep it short."," TIA!"," I'm begging you."," Any ideas?"," Go."," Please advise."," What do you think?"," Explain in detail."," lol"," tbh"," ...or not?"," right?"," huh?")


def plural(t: str, d: random.Random) -> str | None:
    m=some_word(t,d,5)
    if not m: return None
    w=m.group()
    if w.endswith("s") and not w.endswith("ss"): n=w[:-1]
    elif re.search(r"(x|ch|sh|ss)$",w): return None
    else: return None
    return t[:m.start()]+n+t[m.end():]


def articles(t: str, d: random.Random) -> str | None:
    n=re.sub(r"\b(the|a|an)\s","",t,flags=re.I); return n if n!=t else None


def howto(t: str, d: random.Random) -> str | None:
    n=re.sub(r"^How (do|can|would|could|should) (I|you|one|someone|a person|we)\b",d.choice(["How to","How does one","How might one","Ways to","Tell me how to"]),t); return n if n!=t else None


def punct_in(t: str, d: random.Random) -> str | None:
    m=some_word(t,d)
    if not m: return None
    w=m.group(); i=d.randrange(1,len(w)); return t[:m.start()]+w[:i]+d.choice(".-*_'|~")+w[i:]+t[m.end():]


def rtl(t: str, d: random.Random) -> str | None: return d.choice(["\u202a{}\u202c","\u200e{}","\u2066{}\u2069","\ufeff{}"]).format(t)


def cherokee(t: str, d: random.Random) -> str | None:
    T=dict(zip("ABCDEGHIJKLMPRSTVWZ","ᎪᏴᏟᎠᎬᏀᎻᏆᎫᏦᏞᎷᏢᎡᏚᎢᏙᏔᏃ"))
    return "".join(T[c] if c in T and d.random()<.3 else c for c in t.upper())


def latin_ext(t: str, d: random.Random) -> str | None:
    T={"b":"ƀɓ","d":"đɖ","g":"ǥɠ","h":"ħɦ","i":"ɨɩ","k":"ƙ","l":"łƚɭ","n":"ƞɲŋ","o":"øɵ","p":"ƥ","r":"ɍɽ","t":"ŧƭ","u":"ʉ","y":"ƴ","z":"ƶ","e":"ɇ","f":"ƒ","v":"ʋ","a":"ɐ"}
    return "".join(d.choice(T[c]) if c in T and d.random()<.2 else c for c in t)


def filler_inner(t: str, d: random.Random) -> str | None:
    ws=t.split(); i=d.randrange(1,len(ws)) if len(ws)>1 else 1
    return " ".join(ws[:i])+d.choice([", hm,"," sort of",", let's see,"," maybe"," possibly",", as it were,",", please,",", erm,",", okay,",", right,"])+" "+" ".join(ws[i:])
CONTR_B={r"\bwould have\b":"would've",r"\bshould have\b":"should've",r"\bit will\b":"it'll",r"\bwho are\b":"who're",r"\bhow did\b":"how'd",r"\bwhy is\b":"why's",r"\bwhen is\b":"when's",r"\bthem\b":"'em",r"\bgot to\b":"gotta",r"\bkind of\b":"kinda",r"\btrying to\b":"tryna",r"\bI will\b":"Ill",r"\bis\b":"'s",r"\bare\b":"'re",r"\bhave\b":"'ve",r"\bwhat does\b":"what's",r"ing\b":"in'",r"\byou\b":"ya",r"\bof\b":"o'"}


def contr(t: str, d: random.Random) -> str | None:
    n=t
    for a,b in CONTR_B.items(): n=re.sub(a,b,n,flags=re.I)
    n=re.sub(r"\s'(s|re|ve)\b",r"'\1",n)
    return n if n!=t else None
B: dict[str, Edit] = {"text-message words":sms,"markdown":markdown,"labels":labelled,"HTML":markup,"accents":accents,"mathematical letters":maths,"circled and squared letters":circled,
 "words joined":joined,"a word spaced out":spaced,"all spaced out":spaced_all,"a vowel lost":vowel_lost,"two slips":two_slips,"openings B":lambda t,d:d.choice(OPEN_B)+d.choice([t,lower(t)]),
 "closings B":lambda t,d:t+d.choice(CLOSE_B),"singular":plural,"articles dropped":articles,"how to":howto,"a sign in a word":punct_in,"direction marks":rtl,
 "Cherokee letters":cherokee,"Latin letters with strokes":latin_ext,"fillers B":filler_inner,"contractions B":contr}


def typographic(t: str, d: random.Random) -> str | None: return d.choice(["“"+t.replace("'","’")+"”",t.replace(" - "," — ").replace("'","’")+"?!?!",t.replace(", "," — ")+" — ","¿"+t,t+"‽",t.replace("'","`")+"。"])
ALLG=dict(zip("aceiopxyshjABEHIKMNOPTXZ","асеіорхуѕһјΑΒΕΗΙΚΜΝΟΡΤΧΖ"))


def full_glyph(t: str, d: random.Random) -> str | None: return "".join(ALLG.get(c,c) for c in t)
MOD=dict(zip("abcdefghijklmnoprstuvwxyz","ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"))


def superscript(t: str, d: random.Random) -> str | None: return "".join(MOD.get(c,c) for c in t.lower())


def zalgo(t: str, d: random.Random) -> str | None: return "".join(c+"".join(d.choice("\u0300\u0316\u0334\u0336\u0347\u0353\u030d") for _ in range(d.randrange(0,4))) if c.isalpha() else c for c in t)


def random_caps(t: str, d: random.Random) -> str | None: return "".join(c.upper() if d.random()<.5 else c.lower() for c in t)


def line_break(t: str, d: random.Random) -> str | None:
    m=some_word(t,d,6)
    if not m: return None
    w=m.group(); i=d.randrange(2,len(w)-2); return t[:m.start()]+w[:i]+"-\n"+w[i:]+t[m.end():]


def wrapped(t: str, d: random.Random) -> str | None:
    ws=t.split(); k=d.randrange(2,6); return "\n".join(" ".join(ws[i:i+k]) for i in range(0,len(ws),k))


def nbsp(t: str, d: random.Random) -> str | None: return d.choice(["\u00a0","\u2003","\u202f"," \u00a0"]).join(t.split())+"\u00a0\t"
EXPANDED={r"\bwhat's\b":"what is",r"\bdon't\b":"do not",r"\bcan't\b":"cannot",r"\bI'm\b":"I am",r"\bisn't\b":"is not",r"\bI've\b":"I have",r"\bit's\b":"it is",r"\bdoesn't\b":"does not",r"\bI'd\b":"I would",r"\bthat's\b":"that is",r"\bwon't\b":"will not",r"\byou're\b":"you are",r"\bhow's\b":"how is",r"\bthey're\b":"they are"}


def expanded(t: str, d: random.Random) -> str | None:
    n=t.replace("’","'")
    for a,b in EXPANDED.items(): n=re.sub(a,b,n,flags=re.I)
    return n if n!=t.replace("’","'") else None
INNER_C=(" honestly",", you see,"," I say",", look,",", so yeah,",", like I said,",", y'know,",", well then,"," literally",", alright,"," truly",", err,",", ah,",", shall we say,")


def inner_c(t: str, d: random.Random) -> str | None:
    ws=t.split(); i=d.randrange(1,len(ws)) if len(ws)>1 else 1
    return " ".join(ws[:i])+d.choice(INNER_C)+" "+" ".join(ws[i:])
OPEN_C=("Hola, ","Sir, ","My friend asked me: ","Here's something I've always wanted to know: ","This is a test. ","Assistant: ","Be brief. ","Just so I know, ","Don't judge me, but ","No offence, but ","For the record, ","Tell me please: ","I wish to know ","I'd love to hear ","So basically ","Ok but ","Help!! ","Attention: ","Follow-up: ","Hello there, kind AI. ")
CLOSE_C=(" Cheers!"," Appreciate it!"," Over and out."," Waiting for your reply."," Can you help?"," Is that possible?"," You're the best!"," (serious question)"," #help"," xoxo"," P.S. thanks",", pretty please with sugar on top"," Sincerely, Bob"," Let me know ASAP."," ... thanks a bunch"," (asking for a friend)")


def end_lost(t: str, d: random.Random) -> str | None:
    m=some_word(t,d,5)
    if not m: return None
    w=m.group(); return t[:m.start()]+d.choice([w[1:],w[:-1]])+t[m.end():]


def caps_slip(t: str, d: random.Random) -> str | None:
    s=swapped(t,d); return s and s.upper()


def word_twice(t: str, d: random.Random) -> str | None:
    ws=t.split(); i=d.randrange(len(ws)); return " ".join(ws[:i+1]+ws[i:])


def slip_please(t: str, d: random.Random) -> str | None:
    s=vowel_lost(t,d); return s and "Please "+lower(s)


def number_form(t: str, d: random.Random) -> str | None:
    n=re.sub(r"(\d)%",r"\1 percent",t); n=re.sub(r"\b(\d{1,3})(\d{3})\b",r"\1,\2",n); n=re.sub(r"\$(\d+)",r"\1 dollars",n)
    for a,b in (("first","1st"),("second","2nd"),("third","3rd")): n=re.sub(rf"\b{a}\b",b,n)
    return n if n!=t else None


def signs(t: str, d: random.Random) -> str | None:
    n=re.sub(r"\band\b","&",t); n=re.sub(r"\bat\b","@",n); n=re.sub(r"\bpercent\b","%",n); return n if n!=t else None


def we(t: str, d: random.Random) -> str | None:
    n=re.sub(r"\b(do|can|could|should|would) I\b",lambda m:m[1]+d.choice([" we"," you"]),t); return n if n!=t else None


def a_an(t: str, d: random.Random) -> str | None:
    n=re.sub(r"\ba (\w)",r"an \1",t); return n if n!=t else None


def slashes(t: str, d: random.Random) -> str | None: return d.choice(["|"," / "," | "," - ","\\"]).join(t.split())


def enclosed(t: str, d: random.Random) -> str | None: return d.choice(["[QUESTION]{}[/QUESTION]","({})","[{}]","*** {} ***","--- {} ---","~{}~","<<{}>>","3) {}","a) {}","(i) {}","• {}","→ {}","1/ {}"]).format(t)


def as_json(t: str, d: random.Random) -> str | None: return json.dumps({d.choice(["prompt","question","text"]):t})


def said(t: str, d: random.Random) -> str | None: return d.choice(['He asked: "{}"','Someone said "{}"','The question is: {}','Quote: "{}"','My question: {}'] ).format(t)


def repeated(t: str, d: random.Random) -> str | None: return t+" "+t


def no_apostrophes(t: str, d: random.Random) -> str | None:
    n=re.sub(r"['’]","",t); return n if n!=t else None


def first_two_caps(t: str, d: random.Random) -> str | None:
    m=some_word(t,d); return m and t[:m.start()]+m.group()[:2].upper()+m.group()[2:]+t[m.end():]
C: dict[str, Edit] = {"typographic signs":typographic,"all look-alikes":full_glyph,"superscript":superscript,"zalgo":zalgo,"random capitals":random_caps,"line break in a word":line_break,"wrapped lines":wrapped,"odd blanks":nbsp,"contractions expanded":expanded,"fillers C":inner_c,
 "openings C":lambda t,d:d.choice(OPEN_C)+d.choice([t,lower(t)]),"closings C":lambda t,d:t+d.choice(CLOSE_C),"first or last letter lost":end_lost,"slip in capitals":caps_slip,"a word twice":word_twice,"please and a slip":slip_please,"number forms":number_form,"signs for words":signs,"I, we, you":we,"a, an":a_an,"words between signs":slashes,"enclosed":enclosed,"JSON":as_json,"quoted speech":said,"said twice":repeated,"no apostrophes":no_apostrophes,"two capitals":first_two_caps}
SCRIPTS=["аɑαａ𝐚ᴀ","Ьｂ𝐛ʙ","сϲｃ𝐜ᴄ","ԁｄ𝐝ᴅ","еεｅ𝐞ᴇ","ƒｆ𝐟","ɡｇ𝐠ɢ","һｈ𝐡ʜ","іιｉ𝐢ɪ","јｊ𝐣ᴊ","κｋ𝐤ᴋ","ӏｌ𝐥ʟ","ｍ𝐦ᴍ","ոｎ𝐧ɴ","оοｏ𝐨ᴏ","рρｐ𝐩ᴘ","ԛｑ𝐪","ｒ𝐫ʀ","ѕｓ𝐬ꜱ","тτｔ𝐭ᴛ","υｕ𝐮ᴜ","ѵνｖ𝐯ᴠ","ԝｗ𝐰ᴡ","хχｘ𝐱","уγｙ𝐲ʏ","ｚ𝐳ᴢ"]


def mixed(t: str, d: random.Random) -> str | None: return "".join(d.choice(SCRIPTS[ord(c)-97]) if "a"<=c<="z" and d.random()<.35 else c for c in t)
CONTR_D={r"\bgoing to\b":"gonna",r"\bhave to\b":"hafta",r"\bused to\b":"useta",r"\blot of\b":"lotta",r"\buntil\b":"'til",r"\bbecause\b":"'cos",r"\bdo you\b":"d'ya",r"\bout of\b":"outta",r"\bwhat would\b":"what'd",r"\bwho is\b":"who's",r"\bhow are\b":"how're",r"\bthere are\b":"there're",r"\bis not\b":"ain't",r"\bwhat do\b":"whaddya",r"\bshould not\b":"shouldn't",r"\bcould have\b":"could've",r"\bdo not\b":"dont",r"\bwould not\b":"wouldnt",r"\bhow do I\b":"how'd I",r"\bhow can I\b":"how c'n I",r"\bI will\b":"I'll",r"\bsome of\b":"some o'",r"\bof the\b":"o' the",r"\bkind of\b":"kinda",r"\bthat is\b":"that's",r"\band\b":"an'"}


def contr_d(t: str, d: random.Random) -> str | None:
    n=t
    for a,b in CONTR_D.items(): n=re.sub(a,b,n,flags=re.I)
    return n if n!=t else None
OPEN_D=("Heya, ","Evening all. ","Dear AI, ","Dear sir or madam, ","Mind if I ask: ","I come with a question: ","Please help me out: ","Would you mind telling me ","Kindly let me know ","Help me understand: ","A quick one for you: ","Be a dear and tell me ","It's me again. ","Hello world! ","Alrighty then, ","I'm new here. ","First question: ","So here's the thing: ","Explain this to me: ","I was told you could help. ","Answer me this: ","Straight question: ")
CLOSE_D=(" Thank you kindly."," Any pointers?"," Would love to know."," Ta very much."," Much love."," Be quick about it!"," I need it by tonight."," Please and thanks!"," Over to you."," Appreciate the help, mate."," Nothing more."," End of question."," K thx bye"," Pls reply!"," Hope that's okay."," I'm all ears."," Just wondering."," Grateful for any answer.",", if you would be so kind"," :D")
INNER_D=(", mm,"," you know"," quite frankly",", dare I say,",", hmm hmm,"," essentially",", by chance,"," if you will",", please,"," more or less",", I wonder,",", oh,")


def inner_d(t: str, d: random.Random) -> str | None:
    ws=t.split(); i=d.randrange(1,len(ws)) if len(ws)>1 else 1
    return " ".join(ws[:i])+d.choice(INNER_D)+" "+" ".join(ws[i:])


def three(t: str, d: random.Random) -> str | None:
    s=swapped(t,d); s=s and (contr_d(s,d) or s); return s and d.choice(OPEN_D)+lower(s)
D: dict[str, Edit] = {"mixed look-alikes":mixed,"contractions D":contr_d,"openings D":lambda t,d:d.choice(OPEN_D)+d.choice([t,lower(t)]),"closings D":lambda t,d:t+d.choice(CLOSE_D),"fillers D":inner_d,"opening, contraction, slip":three}
