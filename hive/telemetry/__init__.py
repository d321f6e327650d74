"""OpenTelemetry: traces from slot to landing and the metrics of document 004, sent by OTLP over HTTP.

Off, and not even imported, unless OTEL_EXPORTER_OTLP_ENDPOINT (or the one for traces or metrics) is set. The variables
are OpenTelemetry's own: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""
