"""`ponder size`: how many workers a mix of requests needs, by simulating them."""
