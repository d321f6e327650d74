"""Words of English that say nothing by themselves: between a number and the word that names it they do not count.

spaCy's list, which presidio does not count either (MIT licence), without words that name something here (`call`, `us`)
and without parts of words (`'ll`).
"""

_LISTED = """
    a about above across after afterwards again against all almost alone along already also although always am among
    amongst amount an another any anyhow anyone anything anyway anywhere are around as at back be became because
    become becomes becoming been before beforehand behind being below beside besides between beyond both bottom but
    by ca can cannot could did do does doing done down due during each eight either eleven else elsewhere empty
    enough even ever every everyone everything everywhere except few fifteen fifty five for former formerly forty
    four from front further get give go had has have he hence here hereafter hereby herein hereupon hers herself him
    himself how however hundred i if in indeed into is it its itself just keep latter latterly least less made make
    many may me meanwhile might mine more moreover most mostly move much must my myself namely neither never
    nevertheless next nine nobody none noone nor not nothing now nowhere off often once one only onto or other
    others otherwise our ours ourselves out over own part per perhaps please put quite rather re really regarding
    same say see seem seemed seeming seems serious several she should show side since six sixty so some somehow
    someone something sometime sometimes somewhere still such take ten than that the their them themselves then
    thence there thereafter thereby therefore therein thereupon these they third this those though three through
    throughout thru thus to together too top toward towards twelve twenty two under unless until up upon used using
    various very via was we well were what whatever when whence whenever where whereafter whereas whereby wherein
    whereupon wherever whether which while whither who whoever whole whom whose why will with within without would
    yet you your yours yourself yourselves and her his of on
    """
FILLERS = frozenset(_LISTED.split())
