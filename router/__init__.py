"""The router: predicts how much thinking a request needs, decides, dispatches to the workers."""
