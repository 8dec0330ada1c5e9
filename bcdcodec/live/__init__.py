"""`bcd live` and `bcd call`: a page in the browser, and what is behind it (extra `live`)."""
