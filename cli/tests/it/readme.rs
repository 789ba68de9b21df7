//! The README says how to start and what there is; links and commands must be right.

use super::{read, repository};

#[test]
fn links_lead_somewhere() {
    for document in
        ["README.md", "docs/ARCHITECTURE.md", "docs/protocol.md", "docs/errors.md", "docs/commit.md"]
    {
        let text = read(document);
        let folder = repository().join(document).parent().expect("a folder").to_owned();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().expect("a target");
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{document} links to {target}");
            }
        }
    }
}

#[test]
fn there_are_exactly_two_set_up_commands() {
    let text = read("README.md");
    let commands: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap_or_default().lines())
        .collect();
    assert_eq!(commands, ["cargo run --release -p duet -- demo", "cargo test --workspace"]);
}
