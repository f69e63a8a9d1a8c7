//! Records of Avro.
