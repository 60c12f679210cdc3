"""Hard cases of recognising agents by their prompts alone, made up here, and how well they are told apart.

`cases` writes the calls of little simulations with who made them, `forms` more of them in the forms of public frameworks, `scores` counts pairs, `suite` plays the cases through the
rungs of the ladder that need neither an id nor a recipe. Looks into the proxy: what is measured is the recognition alone.
"""
