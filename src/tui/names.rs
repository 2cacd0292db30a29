//! What can be copied from a task: the names in its text, in the order in which they come. Pure.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Lists the names and blocks of code of a Markdown text, each once.
pub(super) fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut block: Option<String> = None;
    let mut add = |name: String| {
        if !name.trim().is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Code(code) => add(code.into_string()),
            Event::Start(Tag::CodeBlock(_)) => block = Some(String::new()),
            Event::Text(text) => {
                if let Some(block) = &mut block {
                    block.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => add(block.take().unwrap_or_default()),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_once_in_the_order_of_the_text_and_blocks_whole() {
        let text = "The account `releaser` of `shop-ci`:\n\n```sh\nkubectl get sa\nexit\n```\n\n| a |\n|---|\n| `x` |\n\nNot `releaser`.";
        assert_eq!(names(text), ["releaser", "shop-ci", "kubectl get sa\nexit\n", "x"]);
    }
}
