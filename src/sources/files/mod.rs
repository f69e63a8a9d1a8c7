//! Files as partitions.
