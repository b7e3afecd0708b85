//! HTTP/1.1 requests to named endpoints.
