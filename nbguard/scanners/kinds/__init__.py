"""One module for each format, each with a `SCANNER`. The registry finds them by being here."""
