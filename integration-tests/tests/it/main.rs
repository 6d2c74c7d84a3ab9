//! The whole saga against the real parts.
