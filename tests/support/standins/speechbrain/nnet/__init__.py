"""A stand-in: SpeechBrain needs torchaudio, which has no build beside every torch."""
