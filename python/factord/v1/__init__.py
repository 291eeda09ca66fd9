"""The messages of proto/factord/v1, made when the package is built."""
