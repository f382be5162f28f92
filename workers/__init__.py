"""The worker process: an engine that thinks within a budget, served over gRPC."""
