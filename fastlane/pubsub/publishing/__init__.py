"""The way of a message from `publish` to the broker: numbered, put in line, bounded, confirmed."""
