DROP TABLE fastlane.inbox;
