//! What the tests of several modules share.

use proptest::prelude::ProptestConfig;

/// The settings of a property test with so many cases, or with as many as the environment variable
/// `TRENDMARK_TEST_CASES` says, to run it at length.
pub fn cases(usual: u32) -> ProptestConfig {
    let given = std::env::var("TRENDMARK_TEST_CASES").ok();
    let cases =
        given.map_or(usual, |cases| cases.parse().expect("TRENDMARK_TEST_CASES is a number"));
    ProptestConfig::with_cases(cases)
}
