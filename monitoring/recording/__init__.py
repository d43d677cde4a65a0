"""The one way in: payload, canonical record, scrubbing, fingerprint, store."""
