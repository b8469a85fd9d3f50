"""Fuzzing of everything that reads hostile bytes: `make fuzz`, and a short slice of it among the tests."""
