"""Prompts for short texts, put together at random from words.json."""

import json
from pathlib import Path
from typing import NamedTuple

WORDS = json.loads((Path(__file__).parent / "words.json").read_text())
BOYS = [name for name in WORDS["names"] if name not in WORDS["girls"]]
TREATS = ["bread", "an apple", "a cake", "honey", "a blanket", "a boat", "a ball", "a bed"]
KINDS = ["fable", "letter", "diary", "day", "dialogue", "how", "describe", "first", "animal", "why"]


class Prompt(NamedTuple):
    kind: str
    hero: str
    """A word that the text must hold, or nothing."""
    beginning: str
    """How the text begins, or nothing."""
    message: str


def an(words):
    return ("an " if words[0].lower() in "aeiou" else "a ") + words


def draw(rng):
    """Two thirds are stories; the others are one of KINDS."""
    girl = rng.random() < 0.5
    name, friend = rng.choice(WORDS["girls"] if girl else BOYS), rng.choice(WORDS["names"])
    beast, other = rng.sample(WORDS["beasts"], 2)
    thing, _ = rng.sample(WORDS["things"], 2)
    mood, other_mood = rng.sample(WORDS["moods"], 2)
    look = rng.choice(WORDS["looks"])
    child = "girl" if girl else "boy"
    where, feature = rng.choice(WORDS["where"]), rng.choice(WORDS["features"])

    def plot(treats, whom):
        template = rng.choice(WORDS["plots"])
        thing, treat = rng.choice(WORDS["objects"]), rng.choice(treats)
        return template.format(a=an(look), t=thing, t2=treat, p=rng.choice(WORDS["places"]), b=rng.choice(whom))

    if rng.random() < 0.67:
        noble = "queen" if girl else "shepherd"
        heroes = [
            (f"a {child} named {name}", name),
            (f"{an(mood)} {child} named {name}", name),
            (f"{an(mood)} {beast}", beast),
            (f"{an(mood)} {beast}", beast),
            (f"{an(mood)} {beast} named {name}", name),
            (f"{an(mood)} {beast} named {name}", beast),
            ("an old man", "man"),
            ("an old woman", "woman"),
            (f"{an(mood)} king", "king"),
            (f"{an(mood)} farmer", "farmer"),
            (f"{an(mood)} {child}", child),
            ("a grandmother" if girl else "a grandfather", "grand"),
            (f"{an(mood)} {noble}", noble),
        ]
        who, hero = rng.choice(heroes)
        happens = plot(TREATS, [an(other), f"{an(other_mood)} {other}", f"a friend named {friend}"])
        message = rng.choice(WORDS["forms"]).format(f"{who} {happens}")
        extra = rng.random()
        if extra < 0.15:
            message += f" It has {feature}."
        elif extra < 0.22:
            message = f"{message[:-1]}, told {rng.choice(WORDS['styles'])}."
        beginning = rng.choice(WORDS["beginnings"]) if rng.random() < 0.6 else ""
        return Prompt("story", hero, beginning, message)

    kind = rng.choice(KINDS)
    begins = lambda *choices: rng.choice(choices)
    topic = lambda: rng.choice(WORDS["topics"])
    match kind:
        case "fable":
            start = begins("", "A", "One day", "Once")
            return Prompt(
                kind, beast, start, f"Write a short fable about {an(mood)} {beast} and {an(other_mood)} {other}."
            )
        case "letter":
            message = (
                f"Write a short letter from {an(mood)} child named {name} to a friend named {friend} about {topic()}."
            )
            return Prompt(kind, "", f"Dear {friend},", message)
        case "diary":
            start = begins("Dear diary,", "Today", "This morning", "")
            message = f"Write a short diary page by a child named {name} about a day {where} and {topic()}."
            return Prompt(kind, "", start, message)
        case "day":
            start = begins("", name, "In the morning")
            message = (
                f"Describe a day in the life of {name}, {an(mood)} {child} who lives {where}, in one short paragraph."
            )
            return Prompt(kind, "", start, message)
        case "dialogue":
            message = f"Write a short conversation between two friends, {name} and {friend}, about {topic()}."
            return Prompt(kind, "", '"', f"{message} It is part of a story.")
        case "how":
            start = begins("First", "To", "", "You")
            message = f"Explain to a child how to {rng.choice(WORDS['skills'])}, in one short paragraph."
            return Prompt(kind, "", start, message)
        case "describe":
            thing = rng.choice(WORDS["objects"])
            return Prompt(
                kind, thing, begins("The", ""), f"Describe {an(look)} {thing} {where} in one short paragraph."
            )
        case "first":
            start = begins("I", "My", "When I", "I am")
            does = plot(["bread"], [an(other)]).removeprefix("who ")
            message = f"Write a very short story told in the first person by {an(mood)} {beast} who {does}."
            return Prompt(kind, "", start, message)
        case "animal":
            start = begins("", "The", "A")
            return Prompt(kind, beast, start, f"Tell a child about the {beast}, in one short paragraph.")
        case "why":
            start = begins("", "Long ago", "Once", "In the beginning")
            habit = begins(
                "has a long tail",
                f"is afraid of the {other}",
                "sleeps all day",
                "sings at night",
                "lives alone",
                f"has no {thing}",
                f"is so {mood}",
                f"runs from the {other}",
                f"likes the {thing}",
            )
            return Prompt(kind, beast, start, f"Write a very short folk tale about why the {beast} {habit}.")
