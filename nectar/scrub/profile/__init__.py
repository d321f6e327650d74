"""What people ask for: profiles, and rules for fields and patterns."""
