"""What topics, databases, secrets and cron jobs have in common: being declared, being configured, being bound."""
