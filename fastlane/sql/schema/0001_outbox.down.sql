DROP FUNCTION fastlane.outbox_insert;
DROP TABLE fastlane.outbox_lease;
DROP TABLE fastlane.outbox_dead;
DROP TABLE fastlane.outbox;
DROP FUNCTION fastlane.lock_keys;
DROP FUNCTION fastlane.identity;
DROP TABLE fastlane.identity;
