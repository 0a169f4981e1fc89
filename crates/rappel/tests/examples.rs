//! The examples run, and hold what they assert.

#[path = "../examples/gpt.rs"]
mod gpt;
#[path = "../examples/line.rs"]
mod line;
#[path = "../examples/own_rule.rs"]
mod own_rule;

#[test]
fn a_line_is_fitted() {
    line::main().unwrap();
}

#[test]
fn a_small_gpt_learns_a_verse() {
    gpt::main().unwrap();
}

#[test]
fn a_program_of_the_facade_alone_defines_its_own_rule_wrapper_and_schedule() {
    own_rule::main().unwrap();
}
