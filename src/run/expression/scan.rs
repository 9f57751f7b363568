//! Scans the text of an expression before it is parsed: strings, brackets, the number of tokens, the end of `${{ … }}`.
//! It decides only how long and how deep a text may be, never what it means.

use super::ExpressionError;

/// The longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 4096;

/// The most tokens. The parser and the evaluator of the `cel` crate recurse over chains such as `a + b + c` too, so
/// this, and not only the nesting, keeps the stack small.
pub(super) const MAX_TOKENS: usize = 256;

/// The deepest nesting of brackets.
const MAX_NESTING: usize = 24;

/// Walks over the text and says how far a string literal, a bracket or a word reaches.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What the scanner saw.
enum Token {
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close(u8),
    /// Anything else that counts as one token.
    Other,
    /// A string literal without an end.
    Unterminated,
}

impl Scanner<'_> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at.checked_add(ahead)?).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.byte(0) {
            if byte == b'/' && self.byte(1) == Some(b'/') {
                while self.byte(0).is_some_and(|byte| byte != b'\n') {
                    self.at += 1;
                }
            } else if byte.is_ascii_whitespace() {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    /// The next token, from just after blanks.
    fn next(&mut self) -> Option<Token> {
        let byte = self.byte(0)?;
        if is_word(byte) {
            let start = self.at;
            while self.byte(0).is_some_and(is_word) {
                self.at += 1;
            }
            let quoted = matches!(self.byte(0), Some(b'\'' | b'"'));
            let prefix = self.text.get(start..self.at).unwrap_or_default();
            // `r'…'` and `b'…'` are literals, `rb` in either order too; a longer word before a quote is an error that
            // the parser explains better.
            if quoted && prefix.len() <= 2 && prefix.bytes().all(|b| matches!(b, b'r' | b'R' | b'b' | b'B')) {
                let raw = prefix.bytes().any(|b| matches!(b, b'r' | b'R'));
                return Some(self.string(raw));
            }
            return Some(Token::Other);
        }
        match byte {
            b'\'' | b'"' => return Some(self.string(false)),
            b'(' | b'[' | b'{' => {
                self.at += 1;
                return Some(Token::Open);
            }
            b')' | b']' | b'}' => {
                self.at += 1;
                return Some(Token::Close(byte));
            }
            _ => self.at += 1,
        }
        Some(Token::Other)
    }

    /// A string literal, whose opening quote is next.
    fn string(&mut self, raw: bool) -> Token {
        let Some(quote) = self.byte(0) else { return Token::Unterminated };
        let triple = self.byte(1) == Some(quote) && self.byte(2) == Some(quote);
        let width = if triple { 3 } else { 1 };
        self.at += width;
        loop {
            match self.byte(0) {
                None => return Token::Unterminated,
                // CEL ends a plain string at the line; without this check a missing quote would swallow the rest of the
                // text.
                Some(b'\n' | b'\r') if !triple => return Token::Unterminated,
                Some(b'\\') if !raw => self.at += 2,
                Some(byte) if byte == quote => {
                    if !triple || (self.byte(1) == Some(quote) && self.byte(2) == Some(quote)) {
                        self.at += width;
                        return Token::Other;
                    }
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
        }
    }
}

/// Letters, digits and everything that is not ASCII: what one token may hold many of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Refuses a text that is too long, too deep, or has too many parts to be handed to the parser.
pub(super) fn check_size(text: &str) -> Result<(), ExpressionError> {
    if text.len() > MAX_BYTES {
        let message = format!("the expression has {} bytes; at most {MAX_BYTES} are allowed", text.len());
        return Err(ExpressionError::new(0, message));
    }
    let mut scanner = Scanner { text, at: 0 };
    let mut tokens = 0usize;
    let mut depth = 0usize;
    loop {
        scanner.skip_blank();
        let start = scanner.at;
        let Some(token) = scanner.next() else { break };
        // Counted here because chains such as `a + b + c` nest in the tree although no bracket shows it.
        tokens += 1;
        if tokens > MAX_TOKENS {
            let message = format!("the expression has more than {MAX_TOKENS} parts");
            return Err(ExpressionError::new(start, message).with_hint("split it over several nodes"));
        }
        match token {
            Token::Open => depth += 1,
            // More closing than opening brackets are left to the parser, which says where.
            Token::Close(_) => depth = depth.saturating_sub(1),
            Token::Unterminated => return Err(ExpressionError::new(start, "this string has no end")),
            Token::Other => {}
        }
        if depth > MAX_NESTING {
            let message = format!("brackets are nested deeper than {MAX_NESTING} levels");
            return Err(ExpressionError::new(start, message));
        }
    }
    if tokens == 0 {
        return Err(ExpressionError::new(0, "the expression is empty"));
    }
    Ok(())
}

/// Finds the `}}` that ends an expression which starts at the beginning of `text`: the first one outside of strings and
/// brackets. `None` when there is none.
pub(super) fn find_end(text: &str) -> Option<usize> {
    let mut scanner = Scanner { text, at: 0 };
    let mut depth = 0usize;
    loop {
        scanner.skip_blank();
        let start = scanner.at;
        match scanner.next()? {
            Token::Open => depth += 1,
            // Brackets are counted, because `{'a': {'b': 1}}` ends with the same two characters.
            Token::Close(b'}') if depth == 0 && scanner.byte(0) == Some(b'}') => return Some(start),
            Token::Close(_) => depth = depth.saturating_sub(1),
            Token::Unterminated => return None,
            Token::Other => {}
        }
    }
}
