"""Behind the `soap` bee: zeep's calls through the guarded client, and the values that come back."""
