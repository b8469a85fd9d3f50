"""What nbguard costs, measured: `python -m bench.run`."""
