//! Integration tests of stepsynth; see the `suite` folder.
