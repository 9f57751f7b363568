//! Literal (`|`) and folded (`>`) text.

/// Reads the text whose head is `head` and which begins with the next line of `below`: the text, and what follows it.
pub(super) fn read<'t>(head: &str, below: &'t str, parent: usize) -> Option<(String, &'t str)> {
    let (folded, strip) = match head {
        "|" => (false, false),
        "|-" => (false, true),
        ">" => (true, false),
        ">-" => (true, true),
        _ => return None,
    };
    let least = parent + 1;
    let mut rest = below;
    let mut text = String::new();
    let mut indent = None;
    let mut blank = 0;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let content = line.trim_start_matches(' ');
        let depth = line.len() - content.len();
        if content.is_empty() {
            // Blanks in an empty line, or empty lines before the text, have rules of their own.
            if depth > 0 || indent.is_none() {
                return None;
            }
            blank += 1;
            rest = after;
            continue;
        }
        let base = *indent.get_or_insert(depth);
        if depth < base || base < least {
            // Anything between the two indentations, such as a comment, is not usual.
            let over = base >= least && depth < least;
            return (over && !content.starts_with('#')).then(|| (end(text, strip), rest));
        }
        // Lines that are indented further keep their breaks in folded text.
        if folded && depth > base {
            return None;
        }
        begin_line(&mut text, folded, blank);
        blank = 0;
        text.push_str(line.get(base..)?);
        rest = after;
    }
    // The last line may lack its line feed; then the text lacks it too.
    indent.filter(|_| below.ends_with('\n')).map(|_| (end(text, strip), rest))
}

fn begin_line(text: &mut String, folded: bool, blank: usize) {
    if text.is_empty() {
        return;
    }
    if !folded {
        text.push('\n');
    } else if blank == 0 {
        text.push(' ');
    }
    text.extend(std::iter::repeat_n('\n', blank));
}

fn end(mut text: String, strip: bool) -> String {
    if !strip {
        text.push('\n');
    }
    text
}
