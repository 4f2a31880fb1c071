//! The files by which programs in a container find names.
