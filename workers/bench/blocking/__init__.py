"""`ponder bench blocking`: does an easy request wait for a hard one?"""
