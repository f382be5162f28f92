"""Protocol version 1: generated messages and service stubs."""
