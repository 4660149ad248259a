"""One worker process: its configuration, its life from open to drain, its telemetry and trace context."""
