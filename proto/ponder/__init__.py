"""The contract between the processes: messages, gRPC serving, the ledger and its bins."""
