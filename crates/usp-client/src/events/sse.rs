//! Reads the text of an event stream (WHATWG HTML, section 9.2), piece by piece.

use std::time::Duration;

/// One field line: the JSON of one event with its report.
const LINE_BYTES_MAX: usize = 4 << 20;
/// All `data` lines of one message together.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// One message that carries something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message {
    /// What to ask for after a break. Stays from message to message until another one names its own.
    pub(super) id: String,
    pub(super) event: String,
    pub(super) text: String,
}

/// The stream is none that we can follow: a line or message without end, or text that is no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotFollowable(pub(super) &'static str);

/// Takes pieces as they come and gives messages. Synchronous; knows no time and no network.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The last byte was a CR, so that an LF right after it belongs to the same line end.
    after_cr: bool,
    /// Whether the first line was seen; only there a byte order mark may stand.
    is_begun: bool,
    message: Message,
    has_text: bool,
    retry: Option<Duration>,
}

impl Parser {
    /// Appends the messages that `piece` completes to `messages`.
    pub(super) fn push(&mut self, piece: &[u8], messages: &mut Vec<Message>) -> Result<(), NotFollowable> {
        for &byte in piece {
            let ends_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if ends_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    self.end_line(messages)?;
                }
                _ if self.line.len() == LINE_BYTES_MAX => return Err(NotFollowable("a line has no end")),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// How long the server wants us to wait before we connect again, if it said so.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self, messages: &mut Vec<Message>) -> Result<(), NotFollowable> {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line).map_err(|_source| NotFollowable("it is not UTF-8"))?;
        let text = if self.is_begun { text } else { text.strip_prefix('\u{feff}').unwrap_or(text) };
        self.is_begun = true;
        if text.is_empty() {
            self.end_message(messages);
            return Ok(());
        }
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            // A comment keeps the connection awake.
            "" => {}
            "data" => {
                if self.has_text {
                    self.message.text.push('\n');
                }
                self.has_text = true;
                if self.message.text.len() + value.len() > MESSAGE_BYTES_MAX {
                    return Err(NotFollowable("a message has no end"));
                }
                self.message.text.push_str(value);
            }
            "event" => value.clone_into(&mut self.message.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.message.id),
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
            _ => {}
        }
        Ok(())
    }

    fn end_message(&mut self, messages: &mut Vec<Message>) {
        let message = Message { id: self.message.id.clone(), ..Message::default() };
        let ended = std::mem::replace(&mut self.message, message);
        if std::mem::take(&mut self.has_text) {
            messages.push(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a stream that comes in pieces of `size` bytes.
    fn parse(text: &[u8], size: usize) -> Vec<Message> {
        let mut parser = Parser::default();
        let mut messages = Vec::new();
        for piece in text.chunks(size) {
            parser.push(piece, &mut messages).unwrap();
        }
        messages
    }

    fn message(id: &str, event: &str, text: &str) -> Message {
        Message { id: id.to_owned(), event: event.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_arrive() {
        let text = "\u{feff}: hello\n\nid: 1\nevent: usp.file.ready\ndata: {\"a\":\ndata: 1}\n\n\
                    :ping\r\n\r\ndata:ü\r\n\r\nid: 2\rdata: x\r\rdata: cut off"
            .as_bytes();
        let expected =
            [message("1", "usp.file.ready", "{\"a\":\n1}"), message("1", "", "ü"), message("2", "", "x")];
        for size in 1..text.len() {
            assert_eq!(parse(text, size), expected, "pieces of {size} bytes");
        }
    }

    #[test]
    fn the_last_id_outlives_its_message_and_may_be_cleared() {
        let messages = parse(b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\nid: x\0y\ndata: d\n\n", 3);
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(ids, ["7", "7", "", ""]);
    }

    #[test]
    fn an_id_without_a_message_is_remembered() {
        assert_eq!(parse(b"id: 9\n\ndata: a\n\n", 1), [message("9", "", "a")]);
    }

    #[test]
    fn retry_takes_only_numbers() {
        let mut parser = Parser::default();
        parser.push(b"retry: 250\nretry: soon\n", &mut Vec::new()).unwrap();
        assert_eq!(parser.retry(), Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        let endless = vec![b'a'; LINE_BYTES_MAX + 1];
        assert_eq!(parser.push(&endless, &mut found), Err(NotFollowable("a line has no end")));
        assert_eq!(
            Parser::default().push(b"data: \xff\n", &mut found),
            Err(NotFollowable("it is not UTF-8"))
        );
    }
}
