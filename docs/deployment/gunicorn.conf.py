"""gunicorn -c gunicorn.conf.py blog:app"""

from fastlane.supervisor.processors import usable_processors

worker_class = "fastlane.server.gunicorn.Worker"
workers = usable_processors()
bind = "0.0.0.0:8000"
keepalive = 75  # longer than the idle time of the proxy in front; gunicorn's own default is 2
timeout = 30
graceful_timeout = 30
max_requests = 100_000
max_requests_jitter = 10_000
accesslog = "-"
forwarded_allow_ips = "127.0.0.1,::1"
