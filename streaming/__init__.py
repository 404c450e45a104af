"""From a topic to the service and back: messages, outcomes, retries, records. No broker, no Flink."""
