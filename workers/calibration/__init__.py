"""`ponder calibrate`: measures when a model may stop thinking early, and writes it down."""
