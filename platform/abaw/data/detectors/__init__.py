"""Face detectors: one protocol, one file a backend."""
