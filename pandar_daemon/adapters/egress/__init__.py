"""The way out of boxes: an HTTP proxy that lets out what is allowed, and knows where models are."""
