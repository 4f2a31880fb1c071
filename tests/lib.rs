//! Empty: the tests are beside, in `tests/`.
