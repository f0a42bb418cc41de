"""What the server does with bytes: tables of requests, each sent through a real socket, and what must come back."""
