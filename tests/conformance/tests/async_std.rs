//! `liminal-async-std` against the suite.

liminal_conformance::conformance!(liminal_conformance::adapters::AsyncStd);
