//! Builds again when a scenario is added: what is embedded is found by its folder.

fn main() {
    println!("cargo::rerun-if-changed=scenarios");
    println!("cargo::rerun-if-changed=templates");
}
