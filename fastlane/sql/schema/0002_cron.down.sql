DROP TABLE fastlane.cron_run;
DROP TABLE fastlane.cron_job;
