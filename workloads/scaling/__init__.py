"""Several engines behind one proxy: what they answer together, and what of each one's cache is used."""
