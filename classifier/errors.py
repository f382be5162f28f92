"""What can go wrong in the classifier.

ClassifierError     the served file or one of its outputs cannot be trusted
DatasetError        a trace file cannot be read, or holds too little to learn from
ExportError         the exported graph does not compute what the trained model computes
"""


class ClassifierError(Exception):
    """The file is missing, damaged or made for another version, or its output is not a hazard."""


class DatasetError(Exception):
    """A trace is malformed, or there are too few of them."""


class ExportError(Exception):
    """The ONNX graph and the model it was made from disagree."""
