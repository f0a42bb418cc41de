"""The ``fastlane`` command."""
