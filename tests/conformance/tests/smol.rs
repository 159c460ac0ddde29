//! `liminal-smol` against the suite.

liminal_conformance::conformance!(liminal_conformance::adapters::Smol);
