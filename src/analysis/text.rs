//! Sentences and words.

/// Sentences with the mark that ends them: `.`, `!` or `?` before a space or the end, or a line's end.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = end_of_sentence(rest);
            let (sentence, after) = rest.split_at(end);
            rest = after;
            let sentence = sentence.trim();
            if sentence.chars().any(char::is_alphanumeric) {
                return Some(sentence);
            }
        }
        None
    })
}

fn end_of_sentence(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let ends = matches!(c, '.' | '!' | '?') && next.is_none_or(char::is_whitespace);
        if ends || matches!(c, '\n' | '。' | '？' | '！') {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Words in lower case: letters, digits and apostrophes within them.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’'))
        .map(|word| word.trim_matches(['\'', '’']).to_lowercase().replace('’', "'"))
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_people_end_them() {
        let text = "It costs $1.50. Really?! Yes\nno… ... fine";
        assert_eq!(sentences(text).collect::<Vec<_>>(), ["It costs $1.50.", "Really?!", "Yes", "no… ...", "fine"]);
        assert_eq!(sentences(" ... ").count(), 0);
    }

    #[test]
    fn words_keep_their_apostrophes() {
        assert_eq!(words("I don’t like 'Ünits', 24/7."), ["i", "don't", "like", "ünits", "24", "7"]);
    }
}
