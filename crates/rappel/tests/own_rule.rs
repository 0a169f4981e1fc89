//! The example of a rule, a wrapper and a schedule of one's own holds what it asserts.

#[path = "../examples/own_rule.rs"]
mod own_rule;

#[test]
fn a_program_of_the_facade_alone_defines_its_own() {
    own_rule::main().unwrap();
}
