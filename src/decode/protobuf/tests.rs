//! Messages of Protobuf.
