"""Seeded text of a wanted size: plain sentences that mean nothing, but tokenize like language."""

from __future__ import annotations

import random

WORDS = tuple(
    """
    able about above across after again against along already always among answer apple arrive around asked autumn away
    bakery basket because become before began behind believe below beside best better between bicycle bird book both bread
    bridge bright bring broken brother build busy cabin calm carry castle caught centre certain chair change cheap child choose
    church circle clean clear climb clock close clothes cloud coffee cold colour come common corner cotton count country
    cousin cover create cross crowd curtain dance danger dark daughter dead decide deep different dinner distance doctor door
    doubt down dream dress drink drive during early earth east easy edge eight either empty enough evening ever every
    example face fall family famous farm fast father favour feel fence field fight find finish fire first fish five floor flower
    follow food foot forest forget forward found four free fresh friend front full game garden gate gather gave gentle
    give glad glass gold good grass great green ground group grow guess guest half hall hand happen happy harbour hard have
    hear heart heavy hello help here hide high hill hold home honest hope horse hotel hour house hundred hungry idea inside
    island join journey jump just keep kind kitchen knew know lake lamp land large last late laugh lead learn leave left
    lesson letter library life light like line listen little live long look lose loud love lucky lunch machine made
    many market master matter maybe meadow mean meet melt middle might mile milk mind minute mirror moment money month
    moon more morning mother mountain mouth move much music must name narrow near need neighbour never next night nine noise
    none north nothing notice number ocean offer office often once only open orange order other outside over paint paper
    park part pass past patient peace people perhaps picture piece place plain plan plant play please point poor possible
    pour power present pretty price promise proud pull push question quick quiet rain raise reach read ready reason red
    remember rest return rice rich ride right ring rise river road roof room round row rule run safe sail salt same sand
    save school sea season seat second secret see seem sell send seven several shade shadow shake shape share sharp shelf
    ship shirt shoe shop short should show shut side sign silent silver simple since sing sister sit six skin sky sleep slow
    small smell smile smoke snow soft soil some song soon sort sound soup south space speak spend spoke spoon spring square
    stage stand star start station stay steam step still stone stop store storm story straight strange street strong
    student study sudden sugar summer sun sure sweet swim table take talk tall taste teach team tell ten thank there
    thick thin thing think third though thought thousand three through throw ticket time tired today together tomorrow tonight
    took tool touch toward town trade train travel tree trip true trust try turn twelve twice two uncle under until upon
    useful usual valley very village visit voice wait walk wall want warm wash watch water wave way wear weather week
    welcome well west wheel when where which while white whole wide wife wild wind window winter wise wish with without
    woman wonder wood word work world worry write wrong yard year yellow yesterday young
    """.split()  # noqa: SIM905  # a list of five hundred literals reads worse
)


def prose(seed: str, chars: int) -> str:
    """At least `chars` characters of sentences; the same seed gives the same text."""
    rng = random.Random(seed)
    sentences: list[str] = []
    size = 0
    while size < chars:
        words = rng.choices(WORDS, k=rng.randint(6, 14))
        sentence = " ".join(words).capitalize() + "."
        sentences.append(sentence)
        size += len(sentence) + 1
    text = " ".join(sentences)
    end = text.find(" ", chars)
    return text if end < 0 else text[:end]


SAMPLE = prose("sample", 20_000)
"""What a tokenizer is measured on."""
