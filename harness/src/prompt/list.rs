//! Reading a list out of an answer.

/// The items of a list a teacher wrote: lines that begin with a number (`1.`, `1)`, `(1)`) or a bullet (`-`, `*`, `•`).
/// Markers, quotes and bold marks around an item are dropped, empty and repeated items too; other lines (a preamble, a
/// closing remark) are not items.
pub fn items(answer: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in answer.lines() {
        let Some(item) = after_marker(line.trim()) else { continue };
        let item = item.trim().trim_matches(['"', '“', '”', '*']).trim_end_matches(['.', ';']).trim();
        if !item.is_empty() && !found.iter().any(|earlier| earlier == item) {
            found.push(item.to_owned());
        }
    }
    found
}

fn after_marker(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix(['-', '*', '•', '–']) {
        return rest.starts_with([' ', '\t']).then_some(rest);
    }
    let open = line.strip_prefix('(').unwrap_or(line);
    let rest = open.trim_start_matches(|c: char| c.is_ascii_digit());
    // "1984 was a good year" and "2.5 hours long" are prose.
    (rest.len() < open.len()).then(|| rest.strip_prefix(['.', ')', ':']))?.filter(|rest| rest.starts_with([' ', '\t', '"', '*']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_and_bulleted_items_are_read() {
        let answer = "Here are some:\n1. Great acting.\n 2) \"A moving score\"\n(3) wit;\n- **Pace**\n* Great acting\n• light\nHope this helps";
        assert_eq!(items(answer), ["Great acting", "A moving score", "wit", "Pace", "light"]);
    }

    #[test]
    fn prose_is_no_list() {
        for prose in ["", "1984 was good", "2.5 hours long", "-5 degrees", "**bold** start", "1.", "- "] {
            assert_eq!(items(prose), Vec::<String>::new(), "{prose:?}");
        }
    }
}
