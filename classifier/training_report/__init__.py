"""What a training leaves for people: one HTML file that needs nothing else.

facts     the numbers behind it: splits, reliability, weights, the rows it gets most wrong
plots     the same drawn, as SVG
page      the file; the entry for programs
"""
