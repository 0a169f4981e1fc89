//! Matrix times vector.
