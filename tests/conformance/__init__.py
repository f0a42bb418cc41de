"""One contract over many brokers: each test runs against every one of them, through topics as an app declares them.

``make test`` takes those that need nothing (memory, local). ``make conformance`` takes all, with the soaks:
FASTLANE_BROKERS names them (``all``, or ``local,nsq``). One that can't be had skips loudly; where CI is set, it fails.
"""
