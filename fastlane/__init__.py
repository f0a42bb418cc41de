"""fastlane: annotated handlers, compiled at import, served on every core."""
