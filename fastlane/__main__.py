"""``python -m fastlane`` works like the command ``fastlane``, which another tool may own on this machine."""

from fastlane_cli.main import main

if __name__ == "__main__":
    main()
