"""What an app declares: topics, the types of their messages, and who is subscribed."""
