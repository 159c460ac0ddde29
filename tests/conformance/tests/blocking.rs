//! `liminal-blocking` against the suite.

liminal_conformance::conformance!(liminal_conformance::adapters::Blocking);
