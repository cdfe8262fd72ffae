"""`make alarms`: faults are provoked, and the alerts of `deploy/observability` fire and resolve."""
