//! The pages that show commands and their output: what they show is what happens.

use crate::pages;

#[test]
fn the_readme_is_true() {
    pages::check("README.md");
}

#[test]
fn the_feature_release_page_is_true() {
    pages::check("examples/feature-release/README.md");
}

#[test]
fn the_sign_in_page_is_true() {
    pages::check("examples/sso/README.md");
}

#[test]
fn the_two_hundred_page_is_true() {
    pages::check("examples/two-hundred/README.md");
}

#[test]
fn the_guide_is_true() {
    pages::check("docs/writing-plans.md");
}
