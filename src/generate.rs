//! Writes a realistic, seeded log.
