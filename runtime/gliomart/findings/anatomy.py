"""Which part of the body words name: the head, another part, or none.

Headers are written by people of many hospitals: Body Part Examined holds the defined terms of DICOM
PS3.16 Annex L, the same in other languages, and words that name no part, which count as none.
Descriptions are free text. Everything is compared without case, accents, digits and punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

from gliomart.findings.sequences import names_flair

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
    r"|holder)\w*|coronary sinus|valve sinus|\bheadcoil|\bkopfspule|\bkopf zuerst"
)
_HEAD = re.compile(
    r"head|brain|skull|cran|krani|cereb|zereb|en[ck]ephal|encefal"
    r"|\b(?:c?mrt?|c?mri|c?ct|mra|hinter|neuro)?kopf|schae?del|\bsch del\b|hirn|\bcmrt?\b"
    r"|\b(?:irm ?)?tetes?\b|\bt te\b|cerveau|\bcrane|\bcr ne\b|\bcabeza|\bcabeca|\btesta\b|\bcapo\b"
    r"|cervell|\bcreier|hersen|hoofd|schedel|hjarn|hjern|\bhuvud|\bhoved|\bhode\b|\bskalle"
    r"|\bglow[aye]\b|moz[aeo]?[gk]|\bhlav|\bglav[aeu]\b|lebk|\baivo|kallo\b|koponya|\bagy\b"
    r"|\bfej\b|beyin|\bkafa|kefal"
    r"|\b(?:temporal|frontal|parietal|occipital) ?(?:lobe|pole)"
    r"|\blob(?:e|us|o|ulo) (?:temp|front|pari|occi)|hippokamp|thalam|talamo"
    r"|corpus callosum|basal gangl|basalgangl|pineal|amygdal"
    r"|(?:temporal|frontal|parietal|okzipital|stirn|schlafen|schlaefen) ?lappen|\bclivus\b"
    r"|(?:lateral|third|fourth|cerebral) ventric|choroid plex|eyelid|\bsclera\b|\bcornea"
    r"|lacrimal|ophthalmic|basilar art|communicating art|facial bones|fontanel"
    r"|голов|мозг|череп|頭|脳|头|脑|腦|颅|顱|뇌|두부|中枢神|εγκεφαλ|κεφαλ|κρανι"
    r"|\b(?:ال)?راس\b|دماغ|\bראש|\bמוח"  # noqa: RUF001  # Arabic and Hebrew
    # Parts of it.
    r"|pituit|hypophys|ipofis|hipofis|\bsella|\borbit|post(?:erior)? ?fossa|fossa ?post|fosse post"
    r"|\b(?:iac|iacs|cpa|ias)\b|auditory|acoustic|akusti|temporal ?bone|os temporale|felsenbein"
    r"|(?<!cleido)mastoid|\brocher|\bpons\b|medulla oblongata|hippocamp|trigemin|chiasm|\boptic"
    r"|\beyes?\b"
    r"|\bauge(?:n|nhohlen?)?\b|\boeil\b|\byeux\b|\bears?\b|\binner ?ear|\bfac(?:e|ial)\b|\bgesicht"
    r"|\bscalp|\bsinus(?:es)?\b(?! tars)|paranasal|\bnnh\b|nasenneben|circle ?of ?willis"
)
# Words for the head in some languages, and other words in others: believed where they stand alone.
_HEAD_ALONE = frozenset({"paa", "bas", "kop", "kopp", "pea"})
# Spines, nerves and hearts have these as well: such a word gives way to any other part.
_PERHAPS_HEAD = re.compile(
    r"\bneuro(?!gra|for|ma\b|fib|pat)|\b(?:cns|snc|zns|czs|oun|sentralnerve\w*)\b"
    r"|central nervous|zentrale?s? nerven|nerveux central|nervioso central|nervoso centrale?"
    r"|\b(?:ventric(?:les?|ul[eio]|ules|ulus)|ventrikel)\b|\bmening(?:es|en)\b|arachnoid"
    r"|(?:white|gr[ae]y) matter"
)

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
    r"|\bphantom|(?:left|right|common) ?ventric(?!.*brain)"
)
# What names another part where it is given for one; in a text it may mean something else. Words
# begin so, are so, or have that in them.
_OTHER_BEGINNINGS = (
    "abdo|acetab|achill|achsel|acromio|addom|adren|airway|aissell|alluc|ankel|antebr|antecub"
    "|aort|appendi|arter|articol|articul|ascell|atri|auric|avambr|avant bras|avantbras|axel"
    "|axila|axill|bacia|bacin|baffle|bandsch|batin|bein|bekken|biliar|bilif|bilis|bocca|borst"
    "|bouche|bovenb|bowel|bricho|broad lig|bronch|brustbein|brusts|bryst|brzuch|buik|buttock"
    "|caec|calcag|calyx|card|carina|carotid|carp|cec|celiac|cervic|cheek|chevil|choled|chordae"
    "|cistif|clavi|cocc|coeliac|colecist|conduit|cor tri|corac|coraz|coron|coscia|costill|costol"
    "|cotovel|coxa|crus|dental|diaphrag|diente|digit|digiun|doigt|dors|ductus art|duoden|eierst"
    "|endoart|endocard|endov|enkel|epigas|escapul|escrot|esof|esoph|espalda|esternon|estom"
    "|estrem|extrem|fallop|fantom|faring|femo|ferse|fess|fetal|fetus|figado|fistel|fistul|flank"
    "|foetus|fotus|gall|garganta|gastr|gaumen|gebaer|gebarm|gefass|gelenk|genic|genio|genital"
    "|genu|gerinc|gesaess|gesass|glut|gogus|gorge|gravid|groin|gyn|haende|hallux|hamstr|hand"
    "|harn|heel|hepar|heup|hig|hjart|hoden|hofte|hufte|hypochon|hypogas|hypophar|ileo|ileu|ilia"
    "|ilio|ingle|ingu|innominate|intest|ischi|jaw|jejun|joelho|joint|jugul|junction|kahnbein"
    "|kalca|kard|karotis|kehlkopf|kiefer|kna|kniekehl|kniesch|knochel|knochen|knoechel|kokz"
    "|kolan|kolen|koron|kregos|kreuzb|lantio|laring|lende|lengua|lever|limb|lingua|lomo"
    "|lower leg|lowerleg|luftrohre|lung|lymph|machoire|magen|malleol|mamar|mamell|mamma|mammel"
    "|mandib|manus|mascell|matriz|mave|maxil|medence|membr|menis|mesent|midlung|miednic|miembro"
    "|milza|mitral|mittelfus|mittelhand|mollet|mouth|musc|muskel|myocard|nabel|nacken|nalga"
    "|nariz|nasal|naso|nebennier|nebenschild|nephr|nose|nuca|nuque|oberkiefer|obstet|oesoph"
    "|ohrspeichel|olka|ombro|oment|omer|omoplat|omurga|omuz|onderb|oropha|orteil|osoph|osso sac"
    "|ovai|palat|palmar|panev|pantorr|parastern|parathyr|parot|pater|pecho|pericard|perine"
    "|peripheral|periton|peron|pes|petto|pharyn|placent|plantar|plazent|pleura|plexus|poitrine"
    "|pollic|polm|polpacc|polvi|poplit|pouce|poumon|pube|pubi|pulgar|pulm|punho|quadric|quadril"
    "|quality|rachen|radial|radius|rameno|recto|rectu|retroper|rett|ribc|rinon|rippe|rotul"
    "|rucken|ruckfus|ruecken|rumpf|ryg|sacr|sakr|salivary|saphen|scaph|scapol|schiena|schienb"
    "|schluessel|schlussel|schouder|schulterbl|selka|sesam|sigmo|skrot|skulder|skuldr"
    "|soft tissue|speiche|speiserohre|spina|splen|steiss|sternoclav|stomac|subclav|submandib"
    "|subment|subxiph|supraclav|suprarren|suprastern|surren|tallone|talon|talus|teeth|terd"
    "|testic|throat|thym|tibi|tiroid|tongue|tooth|torac|tornoz|torso|trabec|trache|tricusp|tronc"
    "|trunc|trunk|ulna|umbil|unterkiefer|uret|urin|urolog|vagin|vaisseau|vas|vatsa|vein|vejiga"
    "|vena|venous|vertebr|vescic|vesic|vessel|vessie|vientre|voet|vorfus|vulv|wadenb|weichteil"
    "|wervel|wirbel|xif|xiph|zaehne|zahn|zehen|zerviko|zunge|zwerchfell|zwolffinger|zygom"
)
_OTHER_WORDS = (
    "abd|after|aine|anal|ano|anus|arm|arme|armen|arms|arto|atm|back|backs|bark|bazo|bile|blase"
    "|boca|bone|bones|braccia|braccio|bras|brazo|brazos|buk|coli|colo|cote|cotes|damm|dedo|dedos"
    "|dent|denti|dents|disc|discs|disk|dita|dito|diz|dos|elle|facet|facett|fod|fot|gamba|gambe"
    "|gola|grele|hart|has|hueso|huesos|jambe|jambes|karin|kne|langue|leiste|lip|lips|lle|lue"
    "|main|mains|mama|mani|mano|manos|mao|mund|nase|nerve|nerves|nez|oral|os|oss|ossa|pe|pene"
    "|pierna|piernas|pols|portal|rate|rein|rene|reni|rle|rue|sein|seno|sterno|stopa|stopy|timo"
    "|tmj|ue|vall|vene|venen|wade|waden"
)
_OTHER_SYLLABLES = (
    r"chest|darm\b|exm\b|extremit|gelenk|joints?\b|legs?\b|limbs?\b|temporo mandib|temporomandib"
    r"|γονατ|θωρακ|ισχι|κοιλι|λεκαν|σπονδυλ|ωμοσ|ωμου|бедр|брюш|голен|груд|живот|кист|колен|легк"
    r"|локт|молоч|печен|плеч|позвон|почк|поясн|сердц|стоп|таз|тазобед|шеи|шея|אגן|בטן|ברך|גב|חזה"
    r"|כתף|بطن|حوض|رκبة|ركبة|صدر|ظهر|عمود|كتف|乳|前列腺|前立腺|子宫|子宮|心|手|椎|盆腔|肘|肝|股|肩|肺|肾|胸|脊|腎|腕|腰|腹|膝"
    r"|足|踝|頸|颈|骨盆|骨盤|髋|간|경추|골반|관절|무릎|복부|심장|어깨|요추|척추|흉부"
)
_OTHER_PART = re.compile(rf"\b(?:{_OTHER_BEGINNINGS})|\b(?:{_OTHER_WORDS})\b|{_OTHER_SYLLABLES}")
# A level of the spine.
_LEVEL = re.compile(r"\b(?:c[1-7]|l[1-5]|s[1-5]|th\d{1,2})\b")
_WHOLE_BODY = re.compile(r"whole ?body|entire body|ganzkoe?rper|corps entier|cuerpo entero")
# Words for parts of the body that do not say what the image shows: how it was made, and what brings
# somebody to have the head looked at.
_COMPLAINTS = (
    r"(?:weak|numb|tremor|paresi|paraly|palsy|plegi|ataxi|tingl|par[ae]?esth|spasti|dystoni|clumsi"
    r"|twitch|jerk|drop\b|schwach|lahm|taub|zitter|tremblem|faiblesse|engourd|debil|debol|temblor"
    r"|formicol|intorpid)\w*"
)
_DISEASES = (
    r"(?:ca|cancer|carcin\w*|adenoca\w*|karzin\w*|krebs|tum[eo]u?re?s?|mets|metast\w*|filiae"
    r"|neoplas\w*|malign\w*|melanom\w*|lymphom\w*|sarcom\w*|primary|staging|restaging|transplant\w*"
    r"|surgery|biopsy|failure|disease|attack|cirrhosis)"
)
_ASIDE = re.compile(
    r"\b(?:left|right|lt|rt|l|r)? ?hand(?:ed|edness)?(?= (?:inj|push|bolus))"
    r"|\b(?:feet|foot|fuesse|fusse) (?:first|zuerst)|\bsecond ?hand|\bby hand|\bhandheld"
    rf"|\bfussheber\w*|\b(?:\w+ )?{_COMPLAINTS}"
    r"(?: (?:(?:in|of|the|both|left|right|lt|rt|l|r) )+\w+)?"
)
_DISEASE_ELSEWHERE = re.compile(
    rf"\b(?:\w+ )?{_DISEASES}\b(?: (?:of|in|from) (?:the |left |right )*\w+)?"
    rf"|\b(?:h o|hx|history of|known|metastatic|s p|post|status post) (?!{_DISEASES}\b)\w+"
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


def other_body_part(part: str) -> str | None:
    """Find the first word for another part in what is given as a part of the body.

    More words are known here than of texts. One that names no part is None as well: what people
    write where they do not want to say anything is without end.
    """
    words = folded(part)
    found = _elsewhere_in(words) or _word(words, _OTHER_PART.search(words))
    return found or (part if _LEVEL.search(part.lower()) else None)


def says_spine(text: str) -> bool:
    """Tell whether text names the spine or a part of it."""
    return bool(_SPINE.search(folded(text)))


def says_whole_body(text: str) -> bool:
    """Tell whether text names the body as a whole, of which the head is one part."""
    return bool(_WHOLE_BODY.search(folded(text)))


def other_part(
    body_parts: Iterable[str], own: str, others: str, *, fluid: bool = False
) -> str | None:
    """Tell in words why images do not show the head; None where nothing speaks against it.

    Parameters
    ----------
    body_parts
        Body Part Examined, then Anatomic Region; the first that names a part counts.
    own
        What is said of the series itself. A spine named here, and no head, is believed before
        everything else: examinations of head and spine have both kinds of series.
    others
        What is said of the whole examination.
    fluid
        The images are FLAIR by what was measured, be they called so or not. Nobody makes a FLAIR of
        a lung: a disease of another part (``LUNG CA STAGING``) is then why it was made.
    """
    if says_spine(own) and not says_head(own):
        return f"described as {elsewhere(own)}"
    described = says_head(own) or says_head(others)
    part = next((part for part in body_parts if says_head(part) or other_body_part(part)), "")
    if part and says_head(part):
        return None
    if part and not (described and says_whole_body(part)):
        return f"body part {part}"
    if described:
        return None
    texts = [folded(own), folded(others)]
    if fluid or names_flair(own):
        texts = [_DISEASE_ELSEWHERE.sub(" ", text) for text in texts]
    found = next(filter(None, map(_elsewhere_in, texts)), None)
    return f"described as {found}" if found else None


def _elsewhere_in(words: str) -> str | None:
    words = _ASIDE.sub(" ", words)
    kinds = (_SPINE, _HEAD_OF_ANOTHER, _ELSEWHERE, _WHOLE_BODY)
    found = [match for kind in kinds if (match := kind.search(words))]
    return _word(words, min(found, key=lambda match: match.start(), default=None))


def _word(words: str, found: re.Match[str] | None) -> str | None:
    """Complete what was found to whole words."""
    if found is None:
        return None
    end = words.find(" ", found.end())
    return words[words.rfind(" ", 0, found.start() + 1) + 1 : end if end >= 0 else None].strip()
