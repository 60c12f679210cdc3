"""The text on which the random model's tokenizer is trained: the same bytes on every machine, at any time.

Common English words first, so that prompts of ordinary text come to about a token a word, then invented words, as many
as a vocabulary needs. Only `Random.random` is drawn from: of all methods it alone is promised to keep its sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_SEED = 20_240_229
_LINE_WORDS = 16

_COMMON = """
the of and to a in is it you that he was for on are with as his they at be this from have or by one had not but
what all were when we there can an your which their said if do will each about how up out them then she many some so
these would other into has more her two like him see time could no make than first been its who now people my made
over did down only way find use may water long little very after words called just where most know get through back
much before go good new write our used me man too any day same right look think also around another came come work
three word must because does part even place well such here take why things help put years different away again off
went old number great tell men say small every found still between name should home big give air line set own under
read last never us left end along while might next sound below saw something thought both few those always looked
show large often together asked house world going want school important until form food keep children feet land side
without boy once animals life enough took sometimes four head above kind began almost live page got earth need far
hand high year mother light parts country father let night following picture being study second eyes soon times story
boys since white days ever paper hard near sentence better best across during today others however sure means knew
try told young miles sun ways thing whole hear example heard several change answer room sea against top turned learn
point city play toward five using himself usually money seen car morning body upon family later turn move face door
cut done group half red fish plants living black eat short short run book gave order open ground cold really table
remember tree course front space inside ago sad early learned behind ran step round clear draw voice town friend
friends street market square baker bakery bread teacher doctor farmer nurse painter carpenter mayor student clerk
sailor tailor singer writer gardener shop garden library kitchen office river bridge hill forest field harbor station
church hospital cafe restaurant theater museum park road corner village neighbor neighbors resident residents
agent agents persona profile character characters person woman husband wife daughter son sister brother uncle aunt
cousin child baby guest stranger customer visitor worker colleague leader member owner
wake woke sleep slept walk walks walked talk talks talked speak spoke speaks meet meets met greet greets visit visits
buy buys bought sell sells sold cook cooks cooked bake bakes baked clean cleans build builds built paint paints plant
repair repairs carry carries bring brings brought send sends sent wait waits waited watch watches watched listen
plan plans planned planning act action actions observe observes observation observations memory memories remembers
decide decides decided decision feel feels felt love loves loved hope hopes fear fears want wants wanted like likes
liked enjoy enjoys hate believe believes trust trusts wish wishes ask asks answers answered question questions reply
reason reasons goal goals task tasks duty habit habits routine schedule daily weekly relationship relationships
opinion opinions mood secret rumor rumors news message messages letter letters conversation conversations dialogue
happy quiet busy tired angry kind gentle curious careful honest patient proud shy brave clever friendly lonely
warm bright dark heavy soft strong weak rich poor cheap fresh sweet bitter wooden broken empty full simple common
special public private local favorite favourite famous familiar ordinary beautiful afraid certain ready likely
hour hours minute minutes week weeks month months spring summer autumn winter monday tuesday wednesday thursday
friday saturday sunday noon evening afternoon midnight tomorrow yesterday early late breakfast lunch dinner supper
coffee tea milk cheese butter apple apples soup cake sugar salt flour fruit meat wine beer
north south east west inside outside upstairs downstairs nearby beside beyond toward towards among within
red green blue yellow brown orange purple gray gold silver
one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand
system user assistant context instruction instructions role respond response short sentence brief current state
location previous recent event events happened happening today next step steps please describe explain decide
consider given based following summary summarize important relevant because therefore however although
"""

_ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sh sk sl sp st str t th tr v w"
_NUCLEI = "a e i o u ai ea ee ie oa oo ou"
_CODAS = ("", "", "l", "m", "n", "nd", "ng", "r", "rd", "s", "st", "t", "ck")


def training_lines(vocabulary: int) -> Iterator[str]:
    """Lines of text with enough different words for a BPE vocabulary of this size."""
    random = Random(_SEED)
    onsets, nuclei = _ONSETS.split(), _NUCLEI.split()

    def one_of(options: Sequence[str]) -> str:
        return options[int(random.random() * len(options))]

    words = dict.fromkeys(_COMMON.split())
    wanted = len(words) + vocabulary
    while len(words) < wanted:
        syllables = 2 + int(random.random() * 3)
        words["".join(one_of(onsets) + one_of(nuclei) + one_of(_CODAS) for _ in range(syllables))] = None
    ranked = tuple(words)
    # Every word once, then draws that favour the first ones, as language does.
    drawn = [*ranked, *(ranked[int(len(ranked) * random.random() ** 3)] for _ in range(20 * vocabulary))]
    for start in range(0, len(drawn), _LINE_WORDS):
        line = drawn[start : start + _LINE_WORDS]
        yield f"{' '.join(line[:9]).capitalize()}, {' '.join(line[9:])}."
