//! Tells cargo that the Python files are compiled into the library, which the freezing macro does not.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/interpreter/python");
}
