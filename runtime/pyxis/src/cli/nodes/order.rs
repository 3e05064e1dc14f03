//! What a task on a node is to do, as it is told on its stdin: its arguments everybody on the node could read, and those
//! of srun everybody on srun's host.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

/// More than any order, and more digests of layers than any image has.
const LONGEST: u64 = 1 << 20;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Says whether the image is there.
    Look,
    /// The first fetches the layers and sends them, the others take them.
    Spread,
    /// Fetches the image.
    Fetch,
}

/// A part, and of which image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) part: Part,
    /// As it was asked for.
    pub(crate) uri: String,
    /// What its tag names, for machines of all kinds.
    pub(crate) digest: String,
    pub(crate) arch: Option<String>,
    /// To the shared store, as the account that owns it.
    pub(crate) shared: bool,
    /// Somebody waits who could do without.
    pub(crate) hurry: bool,
}

impl Order {
    /// The line that says it.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// The one of this task.
    pub(crate) fn of_stdin() -> io::Result<Order> {
        Ok(serde_json::from_str(&next_line()?)?)
    }
}

/// The next line of stdin; nothing at its end.
pub(super) fn next_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_line() {
        let (uri, digest) = ("docker://a\n#b".to_owned(), "sha256:1".to_owned());
        let order = Order { part: Part::Look, uri, digest, arch: None, shared: true, hurry: false };
        let line = String::from_utf8(order.line().unwrap()).unwrap();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
    }
}
