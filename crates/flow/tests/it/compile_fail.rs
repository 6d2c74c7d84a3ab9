//! A step that lacks a part does not compile.

/// The cases below differ from this file by the part that they lack.
#[path = "../compile/whole_step.rs"]
mod whole_step;

#[test]
fn a_step_with_all_of_its_parts_compiles() {
    whole_step::main();
}

/// Only failing cases: they need no code generation, for any dependency.
#[test]
fn a_step_that_lacks_a_part_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile/without_*.rs");
}
