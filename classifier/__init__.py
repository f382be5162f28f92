"""How much thinking will this prompt need? Trained offline, served as one ONNX graph.

The router imports `features` and `predictor` only; everything else is for training.
"""
