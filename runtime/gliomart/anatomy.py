"""Which part of the body words name: the head, another part, or none.

Headers are written by people of many hospitals: Body Part Examined holds the defined terms of DICOM
PS3.16 Annex L, the same in other languages, and words that name nothing. Descriptions are free
text. Everything is compared without case, accents, digits and punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Letters that are no letter with an accent.
_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ł": "l",
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "đ": "d",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)

# What people write into Body Part Examined where they do not want to say anything.
_NOTHING = frozenset(
    """
    unknown|unk|unspecified|undefined|not specified|not defined|not applicable|no value|nil|null
    none|na|n a|nd|other|others|oth|misc|miscellaneous|various|default|general|routine|any|empty
    missing|tbd|tba|x|xx|xxx|test|body part|bodypart|anatomy|part|part of body|mr|mri|mrt|irm|rm|nmr
    unbekannt|andere|anderes|sonstige|sonstiges|keine|keine angabe|unspezifisch|divers|diverse
    inconnu|inconnue|autre|autres|aucun|aucune|non specifie|otro|otra|otros|desconocido|ninguno
    no especificado|altro|altri|sconosciuto|nessuno|non specificato|outro|desconhecido|nenhum
    onbekend|overig|overige|geen|okand|annat|andet|ukendt|ukjent|annen|inne|nieznane|brak|jine|neznamy
    """.replace("\n", "|").replace("    ", "").strip("|").split("|")
)  # fmt: skip

# Bones and organs that have a head of their own: that one is not meant.
_HEADED = (
    r"(?:femor\w*|femur\w*|humer\w*|radial\w*|radius\w*|ulna\w*|fibul\w*|peron\w*|metatars\w*"
    r"|metacarp\w*|metakarp\w*|mandib\w*|condyl\w*|kondyl\w*|rib|costal\w*|hips?|hufte?|huefte?|mittelfuss|mittelhand"
    r"|hanche|cadera|anca|oberschenkel\w*|schenkel\w*|oberarm\w*|speichen?|wadenbein\w*"
    r"|pancrea\w*|pankreas\w*|biceps|bizeps|triceps|muscle|bone|joint)"
)
_HEAD_OF_ANOTHER = re.compile(
    rf"\b{_HEADED} ?(?:heads?|caput|kopf\w*|koepf\w*|tetes?|cabezas?|testa|teste|cabecas?|hoofd)\b"
    r"|\b(?:heads?|caput|kopf|kop|tetes?|cabezas?|testa|teste|cabecas?)"
    rf" (?:(?:of|the|de|des|du|della|dello|delle|del|di|do|da|d|la|le|l|van) )*{_HEADED}\b"
)
# Words with a head in them, how somebody lies, and what they lie in.
_NO_HEAD = re.compile(
    r"over ?heads?|\b(?:a|arrow|sub|go) ?head\b|\bhead (?:first|rest|phones?|coil|array|matrix"
    r"|holder)\w*|\bheadcoil|\bkopfspule|\bkopf zuerst"
)
_HEAD = re.compile(
    r"head|brain|skull|cran|krani|cereb|zereb|en[ck]ephal|encefal"
    r"|\b(?:c?mrt?|c?mri|c?ct|mra|hinter|neuro)?kopf|schae?del|\bsch del\b|hirn|\bcmrt?\b"
    r"|\b(?:irm ?)?tetes?\b|\bt te\b|cerveau|\bcrane|\bcr ne\b|\bcabeza|\bcabeca|\btesta\b|\bcapo\b"
    r"|cervell|\bcreier|hersen|hoofd|schedel|hjarn|hjern|\bhuvud|\bhoved|\bhode\b|\bskalle"
    r"|\bglow[aye]\b|moz[aeo]?[gk]|\bhlav|\bglav[aeu]\b|lebk|\baivo|kallo\b|koponya|\bagy\b"
    r"|\bfej\b|beyin|\bkafa|kefal"
    r"|голов|мозг|череп|頭|脳|头|脑|腦|颅|顱|뇌|두부"
    # Parts of it.
    r"|pituit|hypophys|ipofis|hipofis|\bsella|\borbit|post(?:erior)? ?fossa|fossa ?post|fosse post"
    r"|\b(?:iac|iacs|cpa|ias)\b|auditory|acoustic|akusti|temporal ?bone|os temporale|felsenbein"
    r"|mastoid|\brocher|\bpons\b|medulla oblongata|hippocamp|trigemin|chiasm|\boptic|\beyes?\b"
    r"|\bauge(?:n|nhohlen?)?\b|\boeil\b|\byeux\b|\bears?\b|\binner ?ear|\bfac(?:e|ial)\b|\bgesicht"
    r"|\bscalp|\bsinus(?:es)?\b(?! tars)|paranasal|\bnnh\b|nasenneben|circle ?of ?willis"
)
# Words for the head in some languages, and other words in others: believed where they stand alone.
_HEAD_ALONE = frozenset({"paa", "bas", "kop", "kopp", "pea"})
# Neuroradiology looks at spines and nerves as well: this word alone gives way to any other part.
_PERHAPS_HEAD = re.compile(r"\bneuro(?!gra|for|ma\b|fib|pat)")

_SPINE = re.compile(
    r"spine|spinal|\b(?:c|t|l|ct|tl|ls)sp\b|vertebra|wirbel|\b(?:[hbl]ws)\b|rachis|rachid|column[ae]"
    r"|colonna|\bcervical|\bzervikal|\bthoracic\b|lumb[aeo]|lombai|lendenw|wervel|myelo|ryggrad|\bkregos"
    r"|spondyl|sacrum|coccyx"
)
_ELSEWHERE = re.compile(
    r"pelvi|\bbecken|\bbassin|\bhips?\b|\bhuft|\bhueft|\bhanche|\bcadera|\banca\b|femor|femur"
    r"|\boberschenkel|\bschenkel|\bthigh|\bcuisse|\bmuslo|\bknees?|\bknie|\bgenou|\brodilla"
    r"|\bginocchi|\bpatell|meniscus|menisk|\btibia|\bfibul|\bcalf\b|\bshin\b|\bunterschenkel"
    r"|\bleg\b|\blegs\b|\bankle|\bsprunggelenk|\bcheville|\btobillo|\bcaviglia|\bfoot|\bfeet|\bfuss"
    r"|\bpied|\bpie\b|\bpiede|\bcalcan|\btars|\btoes?\b|\bzehe|\bhands?\b|\bmano\b|\bwrist"
    r"|\bhandgelenk|\bpoignet|\bmuneca|\bpolso|\bfingers?\b|\bthumb|\bdaumen|\belbow|\bellen?bogen"
    r"|\bcoude\b|\bcodo\b|\bgomito|\bforearm|\bunterarm|\bupper ?arm|\boberarm|humer"
    r"|\bmetatars|\bmetacarp|\bmetakarp|\bshoulder|\bschulter|\bepaule|\bhombro|\bspalla"
    r"|\bclavic|\bscapul|\bsternum|\bribs?\b|\bthora|\bchest|\bbrust|\btorax|\blungs?\b|\blunge"
    r"|\bpoumon|\bmediastin|\bbreast|\bmamm[ao]|\bseins\b|\bheart|\bcardiac|\bcardio"
    r"|\bherz|\bcoeur|\bcorazon|\bcuore|\baorta|\baortic|\bcoronar(?:y|ies)\b|\bliver|\bleber|\bfoie|\bhigado"
    r"|\bfegato|\bhepat|\babdom|\bbauch|\bventre\b|\bkidney|\bniere|\breins\b|\brenal"
    r"|\bspleen|\bmilz|\bpancrea|\bpankrea|\bgallbl|\bbiliar|\bmrcp|\bprostat|\buter[uo]|\bovar"
    r"|\btestis|\bscrot|\bpenis|\bbladder|\bharnblase|\brectum|\brektum|\bcolon\b|\bcervix"
    r"|\bsacro ?ili|\bsakro ?ili|\bisg\b|\bsij\b|\bileum|\bilium|\bbowel|\bdarm\b|\bextremit"
    r"|\bbrachial|\bneck\b|\bhals\b|\bcou\b|\bcuello|\bcollo\b|\blarynx|\bthyroid|\bschilddr"
    r"|\bphantom"
)
_WHOLE_BODY = re.compile(r"whole ?body|entire body|ganzkoe?rper|corps entier|cuerpo entero")
# Words for parts of the body that do not say what the image shows.
_ASIDE = re.compile(
    r"\b(?:left|right|lt|rt|l|r)? ?hand(?:ed|edness)?(?= (?:inj|push|bolus))"
    r"|\b(?:feet|foot|fuesse|fusse) (?:first|zuerst)|\bsecond ?hand|\bby hand|\bhandheld"
)


def folded(text: str) -> str:
    """Write text in lower-case letters without accents, and one space for whatever is no letter.

    UTF-8 that was read as Latin-1 is mended first: no Specific Character Set (PS3.3 C.12.1.1.2)
    applies to Body Part Examined, whatever is written there.

    Examples
    --------
    >>> folded("SCHÄDEL_t2")
    'schadel t'
    """
    with suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    apart = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    joined = unicodedata.normalize("NFKC", bare)
    return re.sub(r"[\W\d_]+", " ", joined).strip()


def says_nothing(part: str) -> bool:
    """Tell whether a body part is missing, a mark such as ``*``, or a word that names none."""
    return not folded(part) or folded(part) in _NOTHING


def says_head(text: str) -> bool:
    """Tell whether text names the head or a part of it, and not the head of another bone."""
    words = folded(text)
    rest = _NO_HEAD.sub(" ", _HEAD_OF_ANOTHER.sub(" ", words))
    if words in _HEAD_ALONE or _HEAD.search(rest):
        return True
    return bool(_PERHAPS_HEAD.search(rest)) and not _elsewhere_in(words)


def elsewhere(text: str) -> str | None:
    """Find the first word for another part of the body; None where there is none."""
    return _elsewhere_in(folded(text))


def says_spine(text: str) -> bool:
    """Tell whether text names the spine or a part of it."""
    return bool(_SPINE.search(folded(text)))


def says_whole_body(text: str) -> bool:
    """Tell whether text names the body as a whole, of which the head is one part."""
    return bool(_WHOLE_BODY.search(folded(text)))


def other_part(body_parts: Iterable[str], own: str, others: str) -> str | None:
    """Tell in words why images do not show the head; None where nothing speaks against it.

    Parameters
    ----------
    body_parts
        Body Part Examined, then Anatomic Region; the first that names anything counts.
    own
        What is said of the series itself. A spine named here, and no head, is believed before
        everything else: examinations of head and spine have both kinds of series.
    others
        What is said of the whole examination.
    """
    if says_spine(own) and not says_head(own):
        return f"described as {elsewhere(own)}"
    described = says_head(own) or says_head(others)
    part = next((part for part in body_parts if not says_nothing(part)), "")
    if part and says_head(part):
        return None
    if part and (not described or (elsewhere(part) and not says_whole_body(part))):
        return f"body part {part}"
    found = None if described else elsewhere(own) or elsewhere(others)
    return f"described as {found}" if found else None


def _elsewhere_in(words: str) -> str | None:
    words = _ASIDE.sub(" ", words)
    kinds = (_SPINE, _HEAD_OF_ANOTHER, _ELSEWHERE, _WHOLE_BODY)
    found = [match for kind in kinds if (match := kind.search(words))]
    first = min(found, key=lambda match: match.start(), default=None)
    if first is None:
        return None
    # Whole words, not the part of them that was looked for.
    end = words.find(" ", first.end())
    return words[words.rfind(" ", 0, first.start() + 1) + 1 : end if end >= 0 else None].strip()
