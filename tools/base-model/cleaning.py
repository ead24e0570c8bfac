"""What is kept of the texts that were written: short, finished, suitable prose that does not repeat itself."""

import math
import re

PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
        "\u00a0": " ",
        "\t": " ",
    }
)
OPENING = re.compile(
    r"^\W*(here is|here's|sure|certainly|of course|okay|title|i can|i'm happy to|i'd be happy)\b", re.I
)
CLOSING = re.compile(r"the end\b|\(?word count|note:", re.I)
ABOUT_ITSELF = re.compile(
    r"\b(as an ai|language model|smollm|hugging face|ai assistant|word count"
    r"|the story (is|was|has|tells|teaches|uses|begins|ends|started|began)"
    r"|this (story|fable|tale|letter|paragraph|sentence)|in this (story|fable|tale|scene)|i hope this"
    r"|children's story|short story|fairy tale|the user|prompt|the reader|the author|the narrator"
    r"|main character|protagonist)\b",
    re.I,
)
MARKUP = re.compile(r"[*#_<>\[\]{}|\\/=+~^`@$%&]|\d\d\d|https?:|^\s*(\d+[.)]|-|•) ", re.M)
UNSUITABLE = re.compile(
    r"\b(sex\w*|naked|nude|porn\w*|rape\w*|suicid\w*|cocaine|heroin|drug|drugs|alcohol\w*|beer|vodka|whisk(e)?y"
    r"|murder\w*|terroris\w*|bomb\w*|gun|guns|corpse|slaughter\w*|genocide|nazi\w*|slave\w*|racis\w*|hell|damn\w*"
    r"|shit|fuck\w*|bitch|kill(ed|s|ing)? (him|her|my)self|covid\w*|pandemic|politic\w*|president|company|companies"
    r"|business\w*|technolog\w*|econom\w*|percent)\b",
    re.I,
)
LETTER = re.compile(r"\b(sincerely|best regards|yours truly)\b|\[your", re.I)
WORD = re.compile(r"[a-z']+")
CAPITALISED = re.compile(r"\b[A-Z][a-z]+")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"']?\s+")
# Words that may come back as often as they like.
COMMON = set(
    "the and that this with from they them their there then when what where which who were was have had has been will"
    " would could should said says very just into over under your you her his its for not but all out down about after"
    " before because some more than like one only again other every each also himself herself themselves it's don't"
    " didn't asked replied told looked".split()
)


def clean(text, kind, hero):
    """(the text that is kept, "") or (None, why it is dropped)."""
    lines = [line.strip() for line in text.translate(PLAIN).strip().split("\n")]
    while len(lines) > 1 and is_heading(lines[0]):
        lines.pop(0)
    while len(lines) > 1 and (not lines[-1] or CLOSING.match(lines[-1])):
        lines.pop()
    text = "\n".join(re.sub(r" +", " ", line) for line in lines if line)
    text = re.sub(r"^\"([^\"]*)\"$", r"\1", text)
    fault = unsuitable(text, kind, hero) or repetitive(text, hero) or hard(text)
    return (None, fault) if fault else (text, "")


def is_heading(line):
    """An empty line, a title, or one such as "Here is a story:"."""
    announces = (OPENING.search(line) or ABOUT_ITSELF.search(line)) and line.endswith(":")
    short = len(line.split()) < 9 and line[-1:] not in tuple(".!?,\"'")
    return not line or announces or line.lower().startswith("title") or short


def words_of(text):
    return WORD.findall(text.lower())


def sentences_of(text):
    return [part.strip().lower() for part in SENTENCE_END.split(text) if len(part.split()) > 3]


def unsuitable(text, kind, hero):
    count = len(words_of(text))
    if not text.isascii():
        return "not ascii"
    if MARKUP.search(text):
        return "markup"
    if ABOUT_ITSELF.search(text) or OPENING.search(text):
        return "about itself"
    if UNSUITABLE.search(text):
        return "unsuitable"
    if hero.lower() not in text.lower():
        return "hero missing"
    if count < 40:
        return "too short"
    if count > 300:
        return "too long"
    signed = kind == "letter" and len(text.split("\n")[-1].split()) < 5
    if text[-1] not in ".!?\"'" and not signed:
        return "unfinished"
    if text.count('"') % 2:
        return "quotes"
    if kind != "letter" and LETTER.search(text):
        return "letter talk"
    return ""


def repetitive(text, hero):
    words, sentences = words_of(text), sentences_of(text)
    count = len(words)
    if len(sentences) != len(set(sentences)):
        return "sentence twice"
    openings = [" ".join(sentence.split()[:3]) for sentence in sentences]
    if len(sentences) > 3 and max(map(openings.count, openings)) > max(2, len(sentences) // 4):
        return "same sentence openings"
    pairs = set(zip(words, words[1:]))
    fours = list(zip(words, words[1:], words[2:], words[3:]))
    if 1 - len(set(fours)) / len(fours) > 0.06 or len(pairs) / count < 0.78:
        return "repetition"
    if len(set(words)) / count < 0.66 - 0.045 * math.log(count):
        return "few distinct words"
    counts = {}
    for word in words:
        if len(word) > 3 and word not in COMMON and word != hero.lower():
            counts[word] = counts.get(word, 0) + 1
    if counts:
        times, word = max((times, word) for word, times in counts.items())
        names = {name.lower() for name in CAPITALISED.findall(text)}
        if times > max(5, count * 0.045) and word not in names:
            return "one word too often"
    return ""


def hard(text):
    """For children."""
    words, sentences = words_of(text), sentences_of(text)
    count = len(words)
    if sum(map(len, words)) / count > 5.0:
        return "long words"
    if sum(len(word) > 9 for word in words) / count > 0.06:
        return "hard words"
    if sentences and count / len(sentences) > 32:
        return "long sentences"
    return ""
